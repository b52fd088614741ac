-- Where some videos of one run are forged.
-- Grain: one row per video and frame with a face.
with wanted as (
    select unnest($video_ids) as video_id
),

final as (
    select
        truth.video_id,
        truth.frame,
        truth.height,
        truth.width,
        truth.mask
    from truth
    inner join wanted
        on truth.video_id = wanted.video_id
    where truth.run_id = $run_id
)

select * from final
