-- Emptiness: how many maps say that nothing was needed, and why.
-- Grain: one row per (model, method, layer, target, label); label is NULL for videos whose label is unknown.
-- n_maps counts maps, of which n_empty are empty. Of those, noise alone is judged to be of the target in n_noise; in
-- n_enough it is not, but the little that the fit leaves is; in n_neither not even that is. p_noise is the target's
-- probability of noise alone, NULL without a bottleneck and where other paths lead round the layer.
-- Bits over floor, the bits that pass over those that pass where no class pulls: the most of an empty map, the least
-- and the median of the others. A map is empty up to 1.05; where the first two are far apart, that bound parts them.
with final as (
    select
        masks.model,
        masks.method,
        masks.layer,
        masks.target,
        videos.label,
        count(*) as n_maps,
        count(*) filter (where masks.empty) as n_empty,
        count(*) filter (where empty_maps.why = 'noise') as n_noise,
        count(*) filter (where empty_maps.why = 'enough') as n_enough,
        count(*) filter (where empty_maps.why = 'neither') as n_neither,
        avg(closed.probability) as p_noise,
        max(masks.total_bits / masks.floor_bits) filter (where masks.empty) as most_empty,
        min(masks.total_bits / masks.floor_bits) filter (where not masks.empty) as least_other,
        median(masks.total_bits / masks.floor_bits) filter (where not masks.empty) as median_other
    from masks
    inner join videos using (run_id, video_id)
    left join empty_maps using (run_id, video_id, first_frame, frame, model, method, layer, target)
    left join closed
        on
            masks.run_id = closed.run_id
            and masks.model = closed.model
            and masks.layer = closed.layer
            and masks.target = closed.class
            and masks.total_bits is not null
    where masks.error_code is null
    group by masks.model, masks.method, masks.layer, masks.target, videos.label
    order by masks.model, masks.method, masks.layer, masks.target, videos.label
)

select * from final
