-- What is said of noise alone is about the classes of its model, each once; together their probabilities are 1.
-- Grain: one row per (run, model, layer) that breaks a rule, with the first one broken.
with said as (
    select
        closed.run_id,
        closed.model,
        closed.layer,
        count(*) as n_said,
        count(classes.class) as n_known,
        any_value(classes.n_classes) as n_classes,
        sum(closed.probability) as total,
        min(closed.probability) as least,
        max(closed.probability) as most,
        max(closed.probability) filter (where closed.rank = 1) as first_probability
    from closed
    left join classes using (run_id, model, class)
    group by closed.run_id, closed.model, closed.layer
),

judged as (
    select
        *,
        case
            when n_known < n_said or n_said != n_classes then 'other classes than the model has'
            when not (least >= 0 and abs(total - 1) <= 1e-4) then 'probabilities that do not add up to 1'
            when first_probability is null or first_probability < most
                then 'class of rank 1 that is not the most probable'
        end as problem
    from said
),

final as (
    select
        problem,
        run_id,
        model,
        layer,
        n_said,
        n_classes,
        total,
        first_probability,
        most
    from judged
    where problem is not null
    order by problem, run_id, model, layer
)

select * from final
