-- What is said of a map without a model lies where its definitions put it.
-- Grain: one row per judged_maps row that breaks a rule, with the first one broken.
with judged_both as (
    select
        judged_maps.*,
        localisation_frames.auroc as auroc_known
    from judged_maps
    left join localisation_frames
        on
            judged_maps.run_id = localisation_frames.run_id
            and judged_maps.video_id = localisation_frames.video_id
            and judged_maps.first_frame = localisation_frames.first_frame
            and judged_maps.frame = localisation_frames.frame
            and judged_maps.model = localisation_frames.model
            and judged_maps.method = localisation_frames.method
            and judged_maps.layer = localisation_frames.layer
            and judged_maps.target = localisation_frames.target
            and judged_maps.variant = ''
),

ruled as (
    select
        *,
        case
            when not gini between -1e-9 and 1 then 'gini outside [0, 1]'
            when not entropy between -1e-9 and 1 + 1e-9 then 'entropy outside [0, 1]'
            when not (half > 0 and half <= 1) then 'half outside (0, 1]'
            when list_count([gini, entropy, half]) not in (0, 3) then 'some figures of complexity are defined, some not'
            when not auroc between 0 and 1 then 'auroc outside [0, 1]'
            when not abs(same_map) <= 1 + 1e-9 then 'same_map outside [-1, 1]'
            when variant != '' and same_map is not null then 'same_map of a variant'
            when abs(auroc - auroc_known) > 1e-9 then 'auroc is not that of localisation_frames'
        end as problem
    from judged_both
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
        variant,
        gini,
        entropy,
        half,
        auroc,
        auroc_known,
        same_map
    from ruled
    where problem is not null
    order by problem, run_id, video_id, frame, model, method, layer, target, variant
)

select * from final
