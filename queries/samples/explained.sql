-- What a detector can be trained on: of each video its latest run that found a face in it, with the run's config.
-- Grain: one row per video.
with final as (
    select
        videos.*,
        runs.config
    from videos
    inner join runs using (run_id)
    where videos.status = 'ok'
    qualify row_number() over (partition by videos.video_id order by runs.started_at desc, runs.run_id asc) = 1
    order by videos.video_id
)

select * from final
