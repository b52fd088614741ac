-- Whether a class depends on a concept: its scores beside those of random sets that were taken for concepts.
-- Grain: one row per (analysis, layer, concept, what against, statistic: share or magnitude of tcav_scores). value is
-- the mean over the random sets. chance and spread are mean and deviation of the random sets' own values: the clips
-- of a concept are the same in every set, so that its values vary less over them than those of one meaningless
-- concept from another. t = (value - chance) / (spread sqrt(1 + 1 / sets)), two-sided by the Student distribution
-- with sets - 1 degrees of freedom: 1 - 2 c times the integral of cos^(df - 1) from 0 to atan(t / sqrt(df)), by
-- Simpson's rule; p_adjusted by Bonferroni over the m tests of the analysis; effect: the difference over spread.
-- accuracy is the mean over the sets; where it is not above that of the random sets (one-sided, 5 % of a normal
-- distribution), the concept is not separable, has no value and is no test.
with scores as (
    select
        tcav_id,
        model,
        layer,
        tcav_scores.class,
        concept,
        against,
        tcav_scores.n_clips,
        cavs.accuracy,
        'share' as statistic,
        tcav_scores.share as score
    from tcav_scores
    inner join cavs using (tcav_id, model, layer, concept, against, random_set)
    union all
    select
        tcav_id,
        model,
        layer,
        tcav_scores.class,
        concept,
        against,
        tcav_scores.n_clips,
        cavs.accuracy,
        'magnitude' as statistic,
        tcav_scores.magnitude as score
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
        statistic,
        count(*) as n_sets,
        any_value(n_clips) as n_clips,
        avg(score) as value,
        stddev_samp(score) as spread,
        avg(accuracy) as accuracy,
        stddev_samp(accuracy) as accuracy_spread
    from scores
    group by tcav_id, model, layer, class, concept, against, statistic
),

compared as (
    select
        summed.tcav_id,
        summed.model,
        summed.layer,
        summed.class,
        summed.concept,
        summed.against,
        summed.statistic,
        summed.n_sets,
        summed.n_clips,
        summed.value,
        summed.accuracy,
        chance.value as chance,
        chance.spread,
        chance.n_sets - 1 as df,
        (summed.value - chance.value) / nullif(chance.spread, 0) as effect,
        summed.accuracy > chance.accuracy + 1.645 * chance.accuracy_spread * sqrt(1 + 1 / chance.n_sets) as separable
    from summed
    inner join summed as chance
        on
            summed.tcav_id = chance.tcav_id
            and summed.layer = chance.layer
            and summed.statistic = chance.statistic
            and chance.concept = ''
    where summed.concept != ''
),

tests as (
    select
        *,
        effect / sqrt(1 + 1 / (df + 1)) as t
    from compared
),

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
            lambda i: (case when i in (0, 1000) then 1 when i % 2 = 1 then 4 else 2 end)
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
        statistic,
        n_sets,
        n_clips,
        accuracy,
        separable,
        chance,
        spread,
        df,
        case when separable then value end as value,
        case when separable then effect end as effect,
        case when separable then t end as t,
        case when separable then p end as p,
        count(*) filter (where separable) over (partition by tcav_id) as m,
        case
            when separable then least(1, p * count(*) filter (where separable) over (partition by tcav_id))
        end as p_adjusted
    from tails
)

select * from final
