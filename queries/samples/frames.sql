-- The keyframes and face boxes of every run.
-- Grain: one row per (run, video, frame), in order of frame.
with final as (
    select
        run_id,
        video_id,
        frame,
        time_s,
        keyframe_score,
        status,
        face_x,
        face_y,
        face_width,
        face_height,
        face_score,
        has_flow,
        track
    from frames
    order by frame
)

select * from final
