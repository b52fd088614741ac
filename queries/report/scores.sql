-- Scores: how the scores of genuine and forged videos spread.
-- Grain: one row per (model, label, tenth of the score) that a video falls into.
-- A video's score is the mean probability of fake over its frames; bin is the lower edge, n_videos counts videos.
with final as (
    select
        model,
        label,
        least(floor(score * 10), 9) / 10 as bin,
        count(*) as n_videos
    from scores
    group by model, label, bin
    order by model, label, bin
)

select * from final
