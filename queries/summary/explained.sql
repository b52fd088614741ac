-- What was explained.
-- Grain: one row per (model, method, layer). n_maps counts maps, one for each frame and explained class; of them
-- n_empty are empty and n_failed could not be made; mean_bits is the mean over maps of the bits that pass the
-- bottleneck, NULL for a method without one; mean_s the seconds that a map took.
with final as (
    select
        model,
        method,
        layer,
        count(distinct row(run_id, video_id)) as n_videos,
        count(*) as n_maps,
        count(*) filter (where empty) as n_empty,
        count(error_code) as n_failed,
        avg(total_bits) as mean_bits,
        avg(seconds) as mean_s
    from masks
    group by model, method, layer
    order by model, method, layer
)

select * from final
