-- What two runs are compared by, per video.
-- Grain: one row per (model, layer, method, metric, video); method and layer are empty for what a detector says alone.
-- p_label: mean probability of the video's own label over its frames; right: whether the class with the largest mean is
-- the label. Of maps, means over the video's: empty, seconds, bits (total_bits); iou_adjusted of consecutive masks and
-- tcs, of the mask rule top0.1; auroc on the true mask, heat_gain: heat in it less its area. The rest is that of the
-- league, where the run was judged. The view league_values is made by pipelines/league.py.
with probabilities as (
    select
        predictions.run_id,
        predictions.video_id,
        predictions.model,
        predictions.class,
        videos.label,
        avg(predictions.probability) as probability
    from predictions
    inner join videos using (run_id, video_id)
    where predictions.method = ''
    group by predictions.run_id, predictions.video_id, predictions.model, predictions.class, videos.label
),

verdicts as (
    select
        video_id,
        model,
        any_value(probability) filter (where class = label) as p_label,
        (arg_max(class, probability) = any_value(label))::int as is_right
    from probabilities
    group by run_id, video_id, model
),

said as (
    select
        model,
        '' as layer,
        '' as method,
        unnest(['p_label', 'right']) as metric,
        video_id,
        unnest([p_label, is_right]) as value
    from verdicts
    where p_label is not null
),

maps as (
    select
        model,
        layer,
        method,
        unnest(['empty', 'seconds', 'bits']) as metric,
        video_id,
        unnest([empty::double, seconds, total_bits]) as value
    from masks
),

steady as (
    select
        model,
        layer,
        method,
        unnest(['iou_adjusted', 'tcs']) as metric,
        video_id,
        unnest([iou_adjusted, tcs]) as value
    from metrics
    where mask_rule = 'top0.1'
),

located as (
    select
        model,
        layer,
        method,
        unnest(['auroc', 'heat_gain']) as metric,
        video_id,
        unnest([auroc, heat_inside - chance]) as value
    from localisation_frames
),

league_means as (
    select
        model,
        layer,
        method,
        metric,
        video_id,
        value
    from league_values
    where metric in ('srg', 'srg_mean', 'adv_gain', 'road', 'sensitivity_n', 'gini')
),

everything as (
    select * from said
    union all
    select * from maps
    union all
    select * from steady
    union all
    select * from located
    union all
    select * from league_means
),

final as (
    select
        model,
        layer,
        method,
        metric,
        video_id,
        avg(value) as value
    from everything
    where value is not null
    group by model, layer, method, metric, video_id
    order by model, layer, method, metric, video_id
)

select * from final
