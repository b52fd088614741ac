-- How the maps of each layer were fitted, and how alike those of the reference are.
-- Grain: one row per (model, layer). cut is graph, or hooks where every pass runs the whole model; draws are noise
-- draws, NULL without a fit. The others are of so many samples of the run that the reference fitted, too, NULL where
-- none were: whether maps hold fidelity, pearson with the reference, own_pearson of the reference with itself, bits
-- over the reference's minus 1.
with layers as (
    select unnest(layers, max_depth := 2)
    from runs
),

tried as (
    select
        model,
        layer,
        unnest(tried) as each
    from layers
),

final as (
    select
        layers.model,
        layers.layer,
        layers.cut,
        layers.draws,
        layers.holds,
        tried.each['samples'] as samples,
        tried.each['pearson'] as pearson,
        tried.each['own_pearson'] as own_pearson,
        tried.each['bits'] as bits
    from layers
    left join tried
        on layers.model = tried.model and layers.layer = tried.layer and tried.each['draws'] = layers.draws
    order by layers.model, layers.layer
)

select * from final
