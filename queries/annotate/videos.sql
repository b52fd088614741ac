-- The videos that people can be asked about: those of the run with a frame that was explained.
-- Grain: one row per video; first_face_s is when the first explained frame is shown.
with final as (
    select
        videos.video_id,
        videos.uri,
        videos.label,
        videos.fps,
        min(frames.time_s) as first_face_s
    from videos
    inner join frames using (run_id, video_id)
    where videos.status = 'ok' and frames.status = 'ok'
    group by videos.video_id, videos.uri, videos.label, videos.fps
    order by videos.video_id
)

select * from final
