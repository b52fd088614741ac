-- What a detector can be trained on: of each video its latest run that found something to explain, with the config.
-- Grain: one row per video.
with final as (
    select
        videos.run_id,
        videos.video_id,
        videos.uri,
        videos.dataset,
        videos.label,
        videos.split,
        videos.pair_id,
        videos.status,
        runs.config
    from videos
    inner join runs using (run_id)
    where videos.status = 'ok'
    qualify row_number() over (partition by videos.video_id order by runs.started_at desc, runs.run_id asc) = 1
    order by videos.video_id
)

select * from final
