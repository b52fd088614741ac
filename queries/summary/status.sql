-- Grain: one row per status. n_videos counts input files.
with final as (
    select
        status,
        count(*) as n_videos
    from videos
    group by status
    order by n_videos desc, status asc
)

select * from final
