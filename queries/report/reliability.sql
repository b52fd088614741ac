-- Reliability: whether a score of .8 means that eight videos of ten are forged.
-- Grain: one row per (model, tenth of the score) that a video falls into.
-- score: mean score of the videos in it; share_fake: the share of them that is labelled fake. A calibrated detector has
-- both the same, for as many forgeries as this set holds.
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
        least(floor(score * 10), 9) / 10 as bin,
        count(*) as n_videos,
        avg(score) as score,
        avg((label = 'fake')::int) as share_fake
    from scored
    group by model, bin
    order by model, bin
)

select * from final
