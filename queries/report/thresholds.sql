-- Thresholds: what a threshold on the score would find, and what it would call forged that is not.
-- Grain: one row per (model, threshold in steps of .05), of models with videos of both labels.
-- recall: share of the forged videos whose score is above the threshold; false_alarms: share of the genuine ones.
with grid as (
    select unnest(range(0, 21)) / 20 as threshold
),

final as (
    select
        scores.model,
        grid.threshold,
        avg((scores.score > grid.threshold)::int) filter (where scores.label = 'fake') as recall,
        avg((scores.score > grid.threshold)::int) filter (where scores.label = 'real') as false_alarms
    from scores
    cross join grid
    group by scores.model, grid.threshold
    having count(distinct scores.label) = 2
    order by scores.model, grid.threshold
)

select * from final
