-- Predictions are probabilities, finite logits and ranks from 1 on.
-- Grain: one row per prediction that breaks a rule, with the first one broken.
with judged as (
    select
        *,
        case
            when not isfinite(logit) then 'logit not finite'
            when not probability between 0 and 1 then 'probability outside [0, 1]'
            when rank < 1 then 'rank below 1'
            when (method = '') != (layer = '') or (method = '') != (target = '')
                then 'method, layer and target: all of a bottleneck, or none'
        end as problem
    from predictions
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
        class,
        logit,
        probability,
        rank
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame, model, method, layer, target, class
)

select * from final
