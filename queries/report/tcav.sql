-- Video-TCAV: whether a class of a clip model rests on a concept, still or moving, layer by layer.
-- Grain: one row per (analysis, layer, concept, what against, statistic), of the models of the run.
-- share: of the class's clips whose logit grows along the concept's vector; magnitude: the mean derivative along it
-- over the gradients' mean length. against: empty for random clips, else the concept on the vector's other side.
-- value: mean over the random sets, between value_low and value_high lie 95 % of them; chance, chance_low,
-- chance_high: the same of random sets that are taken for a concept. p_adjusted: whether value is none of theirs,
-- Bonferroni over the analysis. value is NULL where the layer does not tell the concept's clips apart. layer_number:
-- from 0, as the model runs them.
with models as (
    select distinct model
    from predictions
),

scores as (
    select
        tcav_id,
        layer,
        layer_number,
        concept,
        against,
        unnest(['share', 'magnitude']) as statistic,
        unnest([share, magnitude]) as score
    from tcav_scores
    where model in (select models.model from models)
),

spreads as (
    select
        tcav_id,
        layer,
        layer_number,
        concept,
        against,
        statistic,
        quantile_cont(score, 0.025) as low,
        quantile_cont(score, 0.975) as high
    from scores
    group by tcav_id, layer, layer_number, concept, against, statistic
),

final as (
    select
        significance.tcav_id,
        significance.model,
        significance.class,
        significance.concept,
        significance.against,
        significance.statistic,
        chance.layer_number,
        significance.layer,
        significance.value,
        own.low as value_low,
        own.high as value_high,
        significance.chance,
        chance.low as chance_low,
        chance.high as chance_high,
        significance.p_adjusted,
        significance.accuracy,
        significance.n_sets,
        significance.n_clips
    from significance
    left join spreads as own
        on
            significance.separable
            and significance.tcav_id = own.tcav_id
            and significance.layer = own.layer
            and significance.concept = own.concept
            and significance.against = own.against
            and significance.statistic = own.statistic
    inner join spreads as chance
        on
            significance.tcav_id = chance.tcav_id
            and significance.layer = chance.layer
            and significance.statistic = chance.statistic
            and chance.concept = ''
    order by
        significance.tcav_id, significance.concept, significance.against, significance.statistic, chance.layer_number
)

select * from final
