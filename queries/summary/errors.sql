-- Why videos were not explained.
-- Grain: one row per (error_stage, error_code); example and detail are those of the first uri in order.
with final as (
    select
        error_stage,
        error_code,
        count(*) as n_videos,
        min(uri) as example,
        arg_min(error_detail, uri) as detail
    from videos
    where status = 'error'
    group by error_stage, error_code
    order by n_videos desc, error_stage asc, error_code asc
)

select * from final
