-- What is compared in the league, per video: the mean over its frames and targets.
-- Grain: one row per (model, layer, method, metric, video), of videos that were judged. A variant of a method stands as
-- a method of its own, method+variant.
-- srg: of the fill blur; srg_mean, srg_zero: of these. adv_drop: of the true gradient; adv_drop_nes: of the estimated
-- one; adv_gain: adv_drop over its own chance. iou_adjusted: of the mask rule top0.1, in which maps have the same area.
with judged_videos as (
    select
        run_id,
        video_id
    from judged
    where status = 'ok'
),

faithful as (
    select
        run_id,
        video_id,
        model,
        layer,
        concat_ws('+', method, nullif(variant, '')) as method,
        case
            when metric = 'srg' and fill != 'blur' then concat('srg_', fill)
            when fill = 'nes' then concat(metric, '_nes')
            else metric
        end as metric,
        value
    from faithfulness
    where metric in ('srg', 'road', 'sensitivity_n', 'adv_drop', 'adv_chance', 'adv_flip')
),

attacked as (
    select
        run_id,
        video_id,
        model,
        layer,
        concat_ws('+', method, nullif(variant, '')) as method,
        'adv_gain' as metric,
        max(value) filter (where metric = 'adv_drop') - max(value) filter (where metric = 'adv_chance') as value
    from faithfulness
    where fill = 'pgd'
    group by run_id, video_id, first_frame, frame, model, layer, method, variant, target
),

figures as (
    select
        run_id,
        video_id,
        model,
        layer,
        concat_ws('+', method, nullif(variant, '')) as method,
        unnest(['auroc', 'gini', 'same_map']) as metric,
        unnest([auroc, gini, same_map]) as value
    from judged_maps
),

own as (
    select
        masks.run_id,
        masks.video_id,
        masks.model,
        masks.layer,
        masks.method,
        unnest(['empty', 'failed', 'seconds']) as metric,
        unnest([masks.empty::double, (masks.error_code is not null)::double, masks.seconds]) as value
    from masks
),

steady as (
    select
        run_id,
        video_id,
        model,
        layer,
        method,
        'iou_adjusted' as metric,
        iou_adjusted as value
    from metrics
    where mask_rule = 'top0.1'
),

everything as (
    select * from faithful
    union all
    select * from attacked
    union all
    select * from figures
    union all
    select * from own
    union all
    select * from steady
),

final as (
    select
        everything.model,
        everything.layer,
        everything.method,
        everything.metric,
        everything.video_id,
        avg(everything.value) as value,
        count(everything.value) as n_frames
    from everything
    semi join judged_videos using (run_id, video_id)
    where everything.value is not null
    group by everything.model, everything.layer, everything.method, everything.metric, everything.video_id
)

select * from final
