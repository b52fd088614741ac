-- Whether a class depends on a concept: its scores against those of random sets against one another, or, of a concept
-- against another one (relative TCAV), likewise.
-- Grain: one row per (analysis, layer, concept, what against). share and magnitude are means over the random sets,
-- chance those of random sets. t, df: Welch's two-sided t-test; p by the Student distribution, p_adjusted by Bonferroni
-- over the m tests of the analysis; effect: difference over the pooled deviation (Cohen's d). accuracy is the mean over
-- the sets, separable whether it is above chance (one-sided, 5 %): where it is not, the concept has no score, and its
-- test is not counted. A spread of nought on both sides has no t.
with scores as (
    select
        tcav_id,
        model,
        layer,
        tcav_scores.class,
        concept,
        against,
        tcav_scores.share,
        tcav_scores.magnitude,
        tcav_scores.n_clips,
        cavs.accuracy
    from tcav_scores
    inner join cavs using (tcav_id, model, layer, concept, against, random_set)
),

summed as (
    select
        tcav_id,
        model,
        layer,
        class,
        concept,
        against,
        count(*) as n_sets,
        any_value(n_clips) as n_clips,
        avg(share) as share,
        var_samp(share) as variance,
        avg(magnitude) as magnitude,
        avg(accuracy) as accuracy,
        avg(accuracy) - 1.645 * stddev_samp(accuracy) / sqrt(count(*)) > 0.5 as separable
    from scores
    group by tcav_id, model, layer, class, concept, against
),

chance as (
    select
        tcav_id,
        layer,
        n_sets,
        share,
        variance
    from summed
    where concept = ''
),

differences as (
    select
        summed.*,
        chance.share as chance,
        chance.n_sets as n_chance,
        summed.variance / summed.n_sets as own_error,
        chance.variance / chance.n_sets as chance_error,
        (summed.share - chance.share)
        / nullif(sqrt((summed.variance + chance.variance) / 2), 0) as effect
    from summed
    inner join chance using (tcav_id, layer)
    where summed.concept != ''
),

tests as (
    select
        *,
        (share - chance) / sqrt(nullif(own_error + chance_error, 0)) as t,
        pow(own_error + chance_error, 2)
        / nullif(pow(own_error, 2) / (n_sets - 1) + pow(chance_error, 2) / (n_chance - 1), 0) as df
    from differences
),

-- P(|T| > t) = 1 - 2 c times the integral of cos^(df - 1) from 0 to theta = atan(t / sqrt(df)), by Simpson's rule
angles as (
    select
        *,
        atan(abs(t) / sqrt(df)) as theta,
        exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(pi()) as c
    from tests
),

tails as (
    select
        *,
        greatest(0, 1 - 2 * c * theta / 3000 * list_sum(list_transform(
            range(0, 1001),
            lambda i: case when i in (0, 1000) then 1 when i % 2 = 1 then 4 else 2 end
            * pow(cos(theta * i / 1000), df - 1)
        ))) as p
    from angles
),

final as (
    select
        tcav_id,
        model,
        layer,
        class,
        concept,
        against,
        n_sets,
        n_clips,
        accuracy,
        separable,
        chance,
        case when separable then share end as share,
        case when separable then magnitude end as magnitude,
        case when separable then effect end as effect,
        case when separable then t end as t,
        case when separable then df end as df,
        case when separable then p end as p,
        count(*) filter (where separable) over (partition by tcav_id) as m,
        case
            when separable then least(1, p * count(*) filter (where separable) over (partition by tcav_id))
        end as p_adjusted
    from tails
)

select * from final
