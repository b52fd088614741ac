-- Where one video of one run is forged.
-- Grain: one row per frame with a face.
with final as (
    select
        frame,
        height,
        width,
        mask
    from truth
    where run_id = $run_id and video_id = $video_id
)

select * from final
