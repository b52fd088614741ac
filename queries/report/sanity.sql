-- Sanity: how much of a map stays when what the model knows is taken away.
-- Grain: one row per (model, method, layer, test, depth, place).
-- test weights: the weights of the upper layers, down to place, were permuted, a share depth of all layers; class: the
-- map for another class; labels: a detector trained on permuted labels. similarity: mean |Spearman| with the map
-- itself, 1 where nothing changed.
with final as (
    select
        model,
        method,
        layer,
        test,
        depth,
        place,
        count(distinct video_id) as n_videos,
        avg(abs(similarity)) as similarity
    from sanity
    group by model, method, layer, test, depth, place
    order by model, method, layer, test, depth, place
)

select * from final
