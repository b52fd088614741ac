-- Faithfulness curves: what the detector still says when cells are removed.
-- Grain: one row per (model, method, layer, removal, fill, share removed), mean over videos of means over their maps.
-- removal: morf removes the cells that the map calls most relevant first, lerf the least relevant; fill is what stands
-- for them. probability: of the explained class. Under a map that is right it falls early by morf and late by lerf; a
-- random order gives two equal curves.
with points as (
    select
        run_id,
        video_id,
        model,
        method,
        layer,
        removal,
        fill,
        unnest(removed) as removed,
        unnest(probability) as probability
    from faithfulness_curves
    where variant = ''
),

of_videos as (
    select
        run_id,
        video_id,
        model,
        method,
        layer,
        removal,
        fill,
        removed,
        avg(probability) as probability
    from points
    group by run_id, video_id, model, method, layer, removal, fill, removed
),

final as (
    select
        model,
        method,
        layer,
        removal,
        fill,
        removed,
        count(*) as n_videos,
        avg(probability) as probability
    from of_videos
    group by model, method, layer, removal, fill, removed
    order by model, method, layer, removal, fill, removed
)

select * from final
