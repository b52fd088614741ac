-- The keyframes and face boxes of every run.
-- Grain: one row per (run, video, frame), in order of frame.
with final as (
    select *
    from frames
    order by frame
)

select * from final
