-- Where it looks: how much of the heat lies in each region of the face.
-- Grain: one row per (model, method, layer, target, region), mean over videos of the means over their maps with heat.
-- heat: share of the saliency in the region; area: its share of the input, which uniform saliency scores.
with of_videos as (
    select
        run_id,
        video_id,
        model,
        method,
        layer,
        target,
        region,
        avg(heat) as heat,
        avg(area) as area
    from regions
    where heat is not null
    group by run_id, video_id, model, method, layer, target, region
),

final as (
    select
        model,
        method,
        layer,
        target,
        region,
        count(*) as n_videos,
        avg(heat) as heat,
        avg(area) as area
    from of_videos
    group by model, method, layer, target, region
    order by model, method, layer, target, region
)

select * from final
