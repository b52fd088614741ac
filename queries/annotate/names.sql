-- Every video of the lake by what an answer may call it.
-- Grain: one row per (video, uri).
with final as (
    select distinct
        video_id,
        uri
    from videos
    order by video_id, uri
)

select * from final
