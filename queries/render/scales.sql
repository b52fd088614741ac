-- What full heat means in the pictures of one run.
-- Grain: one row per (model, method, layer) with a map that is not empty, of whatever target. top is the upper
-- quartile of the maps' maxima: three of four maps stay below it, and a few hot ones do not darken all others.
with final as (
    select
        model,
        method,
        layer,
        quantile_disc(list_max(saliency) * scale, 0.75) as top
    from masks
    where run_id = $run_id and not empty
    group by model, method, layer
)

select * from final
