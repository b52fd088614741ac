-- The forged region fills its grid, belongs to a frame with a face, and only forged videos have one.
-- Grain: one row per (video, frame) of truth that breaks a rule, with the first one broken.
with placed as (
    select
        truth.*,
        frames.face_x,
        frames.track,
        videos.label,
        videos.truth_uri
    from truth
    inner join frames using (run_id, video_id, frame)
    inner join videos using (run_id, video_id)
),

judged as (
    select
        *,
        case
            when least(height, width) <= 0 then 'empty grid'
            when len(mask) != height * width then 'mask is not height * width long'
            when list_count(mask) != len(mask) then 'mask has NULLs'
            when not area between 0 and 1 then 'area outside [0, 1]'
            when area = 0 and list_max(mask) > 0 then 'mask above 0 without area'
            when list_count(areas) != len(areas) then 'areas have NULLs'
            when list_min(areas) < 0 or list_max(areas) > 1 then 'areas outside [0, 1]'
            when areas is not null and 4 * len(areas) is distinct from len(track) then 'areas are not as many as the boxes of the track'
            when face_x is null then 'truth of a frame without a face'
            when truth_uri is null then 'truth of a video without a truth_uri'
            when label = 'real' and (area > 0 or list_max(areas) > 0) then 'forged region in a video that is labelled real'
        end as problem
    from placed
),

final as (
    select
        problem,
        run_id,
        video_id,
        frame,
        height,
        width,
        area,
        len(mask) as mask_length
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame
)

select * from final
