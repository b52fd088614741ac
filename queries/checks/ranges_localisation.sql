-- Localisation lies where its definitions put it.
-- Grain: one row per localisation_frames row that breaks a rule, with the first one broken.
with judged as (
    select
        *,
        case
            when not heat_inside between 0 and 1 then 'heat_inside outside [0, 1]'
            when not rra between 0 and 1 then 'rra outside [0, 1]'
            when not ehr between 0 and 1 then 'ehr outside [0, 1]'
            when not auroc between 0 and 1 then 'auroc outside [0, 1]'
            when not (pointing_chance >= chance - 1e-9 and pointing_chance <= 1) then 'pointing_chance below chance'
            when not (chance > 0 and chance <= 1) then 'chance outside (0, 1]'
            when list_count([heat_inside, rra, ehr, pointing::double]) not in (0, 4)
                then 'some figures are defined and some are not'
            -- n of the n hottest pixels of a region that fills the input are inside
            when chance = 1 and least(heat_inside, rra) < 1 - 1e-6 then 'heat outside of a region that fills the input'
        end as problem
    from localisation_frames
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
        heat_inside,
        rra,
        chance,
        pointing,
        ehr
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame, model, method, layer, target
)

select * from final
