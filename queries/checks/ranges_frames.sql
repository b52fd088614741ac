-- Frames and face boxes (pixels) lie inside their video.
-- Grain: one row per (video, frame) that breaks a rule, with the first one broken.
with placed as (
    select
        frames.*,
        videos.width,
        videos.height,
        videos.n_frames,
        list_count([frames.face_x, frames.face_y, frames.face_width, frames.face_height]) as n_box_columns
    from frames
    inner join videos using (run_id, video_id)
),

judged as (
    select
        *,
        case
            when status not in ('ok', 'no_face') then 'unknown status'
            when frame < 0 or frame >= n_frames then 'frame outside the video'
            when not (isfinite(time_s) and time_s >= 0) then 'time_s negative or not finite'
            when not isfinite(keyframe_score) then 'keyframe_score not finite'
            when n_box_columns not in (0, 4) then 'part of a face box'
            when status != 'ok' and n_box_columns > 0 then 'face box, but not ok'
            when status != 'ok' and has_flow then 'flow without a face'
            when face_width <= 0 or face_height <= 0 then 'empty face box'
            when least(face_x, face_y) < 0 then 'face box outside the video'
            when face_x + face_width > width or face_y + face_height > height then 'face box outside the video'
        end as problem
    from placed
),

final as (
    select
        problem,
        run_id,
        video_id,
        frame,
        status,
        n_frames,
        width,
        height,
        face_x,
        face_y,
        face_width,
        face_height
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame
)

select * from final
