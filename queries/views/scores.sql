-- Scores: the mean probability of fake over a video's frames, of videos that are labelled real or fake.
-- Grain: one row per (run, video, model) of models that know the class fake.
with final as (
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
)

select * from final
