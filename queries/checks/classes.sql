-- The predictions of a sample are about classes of its model, by the view `classes`, of up to 20 about each one; one of
-- them is the most probable, and together their probabilities are 1, or less where some are left out.
-- Grain: one row per (video, frame, model, method, layer, target) that breaks a rule, with the first one broken.
with samples as (
    select
        predictions.run_id,
        predictions.video_id,
        predictions.frame,
        predictions.model,
        predictions.method,
        predictions.layer,
        predictions.target,
        count(*) as n_predictions,
        count(classes.class) as n_known,
        any_value(classes.n_classes) as n_classes,
        count(*) filter (where predictions.rank = 1) as n_first,
        sum(predictions.probability) as total,
        max(predictions.probability) as most_probable,
        max(predictions.probability) filter (where predictions.rank = 1) as first_probability
    from predictions
    left join classes using (run_id, model, class)
    group by
        predictions.run_id,
        predictions.video_id,
        predictions.frame,
        predictions.model,
        predictions.method,
        predictions.layer,
        predictions.target
),

judged as (
    select
        *,
        case
            when n_known < n_predictions then 'class that the model does not have'
            when n_classes <= 20 and n_predictions < n_classes then 'class of the model without a prediction'
            when total > 1 + 1e-4 or (total < 1 - 1e-4 and n_predictions = n_classes)
                then 'probabilities that do not add up to 1'
            when n_first != 1 then 'no class of rank 1, or several'
            when first_probability < most_probable then 'class of rank 1 that is not the most probable'
        end as problem
    from samples
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
        n_predictions,
        n_classes,
        total,
        first_probability,
        most_probable
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame, model, method, layer, target
)

select * from final
