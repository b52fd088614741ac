-- League: what every method's maps are worth, mean over persons.
-- Grain: one row per (model, layer, method); a variant of a method stands as method+variant. The views league_values,
-- league_gate and persons are made by pipelines/league.py.
-- srg: least relevant first minus most relevant first, of the fill blur (srg_mean: of the mean colour), 0 for a random
-- order. auroc: in and out of the true mask, chance .5. adv_drop: fall of the class's probability under an attack of
-- the 3 most relevant segments (adv_drop_nes: by estimated gradients), adv_gain: over what it is in random ones of the
-- same area. road, sensitivity_n: see docs/judging.md. sanity: a gate. iou_adjusted: of consecutive maps. empty,
-- failed: shares of the maps. gini: 0 for a uniform map. seconds: to make one. n_frames: samples that models were asked
-- about; n_videos: with any figure.
with sizes as (
    select
        league_values.model,
        league_values.layer,
        league_values.method,
        count(distinct persons.person) as n_persons,
        count(distinct league_values.video_id) as n_videos,
        (sum(league_values.n_frames) filter (where league_values.metric = 'srg'))::bigint as n_frames
    from league_values
    inner join persons using (video_id)
    group by league_values.model, league_values.layer, league_values.method
),

of_persons as (
    select
        league_values.model,
        league_values.layer,
        league_values.method,
        league_values.metric,
        persons.person,
        avg(league_values.value) as value
    from league_values
    inner join persons using (video_id)
    group by
        league_values.model, league_values.layer, league_values.method, league_values.metric, persons.person
),

means as (
    select
        model,
        layer,
        method,
        avg(value) filter (where metric = 'srg') as srg,
        avg(value) filter (where metric = 'auroc') as auroc,
        avg(value) filter (where metric = 'adv_drop') as adv_drop,
        avg(value) filter (where metric = 'adv_drop_nes') as adv_drop_nes,
        avg(value) filter (where metric = 'adv_gain') as adv_gain,
        avg(value) filter (where metric = 'srg_mean') as srg_mean,
        avg(value) filter (where metric = 'road') as road,
        avg(value) filter (where metric = 'sensitivity_n') as sensitivity_n,
        avg(value) filter (where metric = 'iou_adjusted') as iou_adjusted,
        avg(value) filter (where metric = 'gini') as gini,
        avg(value) filter (where metric = 'empty') as empty,
        avg(value) filter (where metric = 'failed') as failed,
        avg(value) filter (where metric = 'seconds') as seconds
    from of_persons
    group by model, layer, method
),

final as (
    select
        means.*,
        league_gate.sanity,
        sizes.n_persons,
        sizes.n_videos,
        sizes.n_frames
    from means
    inner join sizes using (model, layer, method)
    left join league_gate using (model, layer, method)
    order by means.model asc, means.layer asc, means.srg desc nulls last, means.method asc
)

select * from final
