-- What was explained.
-- Grain: one row per (model, method, layer). n_frames counts maps; mean_bits is the mean over maps of the bits that
-- pass the bottleneck.
with final as (
    select
        model,
        method,
        layer,
        count(distinct row(run_id, video_id)) as n_videos,
        count(*) as n_frames,
        avg(total_bits) as mean_bits
    from masks
    group by model, method, layer
    order by model, method, layer
)

select * from final
