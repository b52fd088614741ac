-- Detectors: whether scores tell forged videos from genuine ones, before any threshold.
-- Grain: one row per model that knows the class fake, over the videos labelled real or fake.
-- A video's score is the mean probability of fake over its frames. auc: the probability that a forged video scores
-- higher than a genuine one, ties count half; NULL where one of the labels is not there. auc_low, auc_high: its 95 %
-- interval by Newcombe's method 5 (2006), on a grid of .001, as if the videos were independent: where several show one
-- person it is too narrow.
with sizes as (
    select
        model,
        count(*) filter (where label = 'real') as n_real,
        count(*) filter (where label = 'fake') as n_fake
    from scores
    group by model
),

wins as (
    select
        forged.model,
        avg(case when forged.score > genuine.score then 1 when forged.score = genuine.score then 0.5 else 0 end) as auc
    from scores as forged
    inner join scores as genuine using (model)
    where forged.label = 'fake' and genuine.label = 'real'
    group by forged.model
),

grid as (
    select unnest(range(0, 1001)) / 1000 as theta
),

bounds as (
    select
        wins.model,
        min(grid.theta) as low,
        max(grid.theta) as high
    from wins
    inner join sizes using (model)
    cross join grid
    where
        abs(grid.theta - wins.auc) <= 0.0005 + 1.96 * sqrt(
            grid.theta * (1 - grid.theta) / (sizes.n_real * sizes.n_fake)
            * (
                1 + ((sizes.n_real + sizes.n_fake) / 2 - 1)
                * ((1 - grid.theta) / (2 - grid.theta) + grid.theta / (1 + grid.theta))
            )
        )
    group by wins.model
),

final as (
    select
        sizes.model,
        sizes.n_real,
        sizes.n_fake,
        wins.auc,
        bounds.low as auc_low,
        bounds.high as auc_high
    from sizes
    left join wins using (model)
    left join bounds using (model)
    order by sizes.model
)

select * from final
