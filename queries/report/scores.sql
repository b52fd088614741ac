-- Scores: how the scores of genuine and forged videos spread.
-- Grain: one row per (model, label, tenth of the score) that a video falls into.
-- A video's score is the mean probability of fake over its frames; bin is the lower edge, n_videos counts videos.
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

final as (
    select
        model,
        label,
        least(floor(score * 10), 9) / 10 as bin,
        count(*) as n_videos
    from scored
    group by model, label, bin
    order by model, label, bin
)

select * from final
