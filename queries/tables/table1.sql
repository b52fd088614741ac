-- Table 1: the videos a run was given.
-- Grain: one row per (dataset, label); label is NULL for videos whose label is unknown.
-- n_videos counts every input file, also those without a face and those that could not be read: report/status.sql
-- says how many those are.
with final as (
    select
        dataset,
        label,
        count(*) as n_videos
    from videos
    group by dataset, label
    order by dataset, label
)

select * from final
