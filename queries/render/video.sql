-- The video whose id begins with $video_id, with the config it was explained with.
-- Grain: one row per (run, video); of the exact id before longer ones, the latest run first.
with final as (
    select
        videos.run_id,
        videos.video_id,
        videos.uri,
        videos.status,
        videos.error_code,
        videos.error_detail,
        videos.width,
        videos.height,
        videos.fps,
        videos.n_frames,
        runs.config
    from videos
    inner join runs using (run_id)
    where starts_with(videos.video_id, $video_id)
    order by videos.video_id = $video_id desc, runs.started_at desc
)

select * from final
