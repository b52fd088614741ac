-- What a detector of forgeries says of a video: the mean probability of fake over its frames.
-- Grain: one row per (model, video) with a label. The view persons is made by pipelines/league.py.
with final as (
    select
        predictions.model,
        videos.video_id,
        persons.person,
        (videos.label = 'fake')::double as fake,
        avg(predictions.probability) as probability
    from predictions
    inner join videos using (run_id, video_id)
    inner join persons using (video_id)
    where predictions.method = '' and predictions.class = 'fake' and videos.label in ('real', 'fake')
    group by predictions.model, videos.video_id, persons.person, videos.label
    order by predictions.model, videos.video_id
)

select * from final
