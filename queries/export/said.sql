-- What the models themselves say of some videos of one run.
-- Grain: one row per (video_id, frame, model): its most probable class.
with wanted as (
    select unnest($video_ids) as video_id
),

final as (
    select
        predictions.video_id,
        predictions.frame,
        predictions.model,
        predictions.class,
        predictions.probability
    from predictions
    inner join wanted
        on predictions.video_id = wanted.video_id
    where predictions.run_id = $run_id and predictions.method = '' and predictions.rank = 1
)

select * from final
