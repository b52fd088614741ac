-- Predictions are probabilities and finite logits.
-- Grain: one row per prediction that breaks a rule, with the first one broken.
with judged as (
    select
        *,
        case
            when not (isfinite(logit_real) and isfinite(logit_fake)) then 'logit not finite'
            when not prob_fake between 0 and 1 then 'prob_fake outside [0, 1]'
            when target not in (0, 1) then 'target is neither 0 nor 1'
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
        bottleneck,
        logit_real,
        logit_fake,
        prob_fake,
        target
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame, model, method, layer, bottleneck
)

select * from final
