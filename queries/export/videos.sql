-- The videos of one run whose maps can be written.
-- Grain: one row per video with a map that could be made.
with final as (
    select
        videos.video_id,
        videos.uri,
        videos.dataset,
        videos.label,
        videos.split
    from videos
    semi join masks on
        videos.run_id = masks.run_id and videos.video_id = masks.video_id and masks.error_code is null
    where videos.run_id = $run_id
    order by videos.video_id
)

select * from final
