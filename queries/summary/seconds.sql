-- How long each stage took.
-- Grain: one row per stage, in order. n_videos counts the videos that reached it; seconds are those of the workers,
-- which run side by side, so they add up to more than the clock shows.
with stages as (
    select
        1 as position,
        'prepare' as stage,
        prepare_s as seconds
    from videos
    union all
    select
        2 as position,
        'explain' as stage,
        explain_s as seconds
    from videos
    union all
    select
        3 as position,
        'metrics' as stage,
        metrics_s as seconds
    from videos
),

final as (
    select
        stage,
        count(seconds) as n_videos,
        sum(seconds) as total_s,
        avg(seconds) as mean_s,
        max(seconds) as max_s
    from stages
    group by position, stage
    order by position
)

select * from final
