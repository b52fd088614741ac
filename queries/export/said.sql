-- What the models themselves say of one video of one run.
-- Grain: one row per (frame, model): its most probable class.
with final as (
    select
        frame,
        model,
        class,
        probability
    from predictions
    where run_id = $run_id and video_id = $video_id and method = '' and rank = 1
)

select * from final
