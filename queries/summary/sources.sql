-- Where the videos come from, and how they are split. `videos` may also be a manifest, which has these columns.
-- Grain: one row per (dataset, label, manipulation).
with final as (
    select
        dataset,
        label,
        manipulation,
        count(*) filter (where split = 'train') as train,
        count(*) filter (where split = 'val') as val,
        count(*) filter (where split = 'test') as test,
        count(*) as n_videos
    from videos
    group by dataset, label, manipulation
    order by dataset, label, manipulation
)

select * from final
