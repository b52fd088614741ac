-- The six regions of a map share out its heat and its area.
-- Grain: one row per (video, frame, model, method, layer, target) of regions that breaks a rule, with the first one
-- broken.
with summed as (
    select
        run_id,
        video_id,
        first_frame,
        frame,
        model,
        method,
        layer,
        target,
        count(*) as n_regions,
        count(heat) as n_heat,
        min(least(heat, area)) as least_share,
        sum(heat) as heat,
        sum(area) as area
    from regions
    group by run_id, video_id, first_frame, frame, model, method, layer, target
),

judged as (
    select
        *,
        case
            when n_regions != 6 then 'not six regions'
            when n_heat not in (0, 6) then 'heat of some regions alone'
            when least_share < 0 then 'a share below 0'
            when not abs(area - 1) < 1e-6 then 'areas do not add up to 1'
            when not abs(heat - 1) < 1e-6 then 'heat does not add up to 1'
        end as problem
    from summed
),

final as (
    select
        problem,
        run_id,
        video_id,
        frame,
        model,
        method,
        layer,
        target,
        n_regions,
        heat,
        area
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame, model, method, layer, target
)

select * from final
