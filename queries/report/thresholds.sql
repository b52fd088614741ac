-- Thresholds: what a threshold on the score would find, and what it would call forged that is not.
-- Grain: one row per (model, threshold in steps of .05), of models with videos of both labels.
-- recall: share of the forged videos whose score is above the threshold; false_alarms: share of the genuine ones.
with scored as (
    select
        predictions.run_id,
        predictions.video_id,
        predictions.model,
        videos.label,
        avg(predictions.probability) as score
    from predictions
    inner join videos using (run_id, video_id)
    where predictions.method = '' and predictions.class = 'fake' and videos.label in ('real', 'fake')
    group by predictions.run_id, predictions.video_id, predictions.model, videos.label
),

grid as (
    select unnest(range(0, 21)) / 20 as threshold
),

final as (
    select
        scored.model,
        grid.threshold,
        avg((scored.score > grid.threshold)::int) filter (where scored.label = 'fake') as recall,
        avg((scored.score > grid.threshold)::int) filter (where scored.label = 'real') as false_alarms
    from scored
    cross join grid
    group by scored.model, grid.threshold
    having count(distinct scored.label) = 2
    order by scored.model, grid.threshold
)

select * from final
