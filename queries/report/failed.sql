-- Failed videos: what was not explained, one by one.
-- Grain: one row per video whose status is error or no_face, in order of their codes and names.
with final as (
    select
        status,
        error_stage,
        error_code,
        uri,
        error_detail
    from videos
    where status in ('error', 'no_face')
    order by error_code nulls last, uri
)

select * from final
