-- A video's status says what its rows say.
-- Grain: one row per (video, problem).
with frame_counts as (
    select
        run_id,
        video_id,
        count(*) as n_frames,
        count(*) filter (where status = 'ok') as n_faces
    from frames
    group by run_id, video_id
),

mask_counts as (
    select
        run_id,
        video_id,
        count(*) as n_masks
    from masks
    group by run_id, video_id
),

prediction_counts as (
    select
        run_id,
        video_id,
        count(*) as n_predictions
    from predictions
    group by run_id, video_id
),

metric_counts as (
    select
        run_id,
        video_id,
        count(*) as n_metrics
    from metrics
    group by run_id, video_id
),

counted as (
    select
        videos.run_id,
        videos.video_id,
        videos.status,
        list_count([videos.error_stage, videos.error_code, videos.error_detail]) as n_error_columns,
        coalesce(frame_counts.n_frames, 0) as n_frames,
        coalesce(frame_counts.n_faces, 0) as n_faces,
        coalesce(mask_counts.n_masks, 0) as n_masks,
        coalesce(mask_counts.n_masks, 0)
        + coalesce(prediction_counts.n_predictions, 0)
        + coalesce(metric_counts.n_metrics, 0) as n_results
    from videos
    left join frame_counts using (run_id, video_id)
    left join mask_counts using (run_id, video_id)
    left join prediction_counts using (run_id, video_id)
    left join metric_counts using (run_id, video_id)
),

judged as (
    select
        *,
        case
            when status not in ('ok', 'no_face', 'error') then 'unknown status'
            when status = 'ok' and n_faces = 0 then 'ok, but no frame is ok'
            when status = 'ok' and n_masks = 0 then 'ok, but nothing was explained'
            when status = 'no_face' and n_frames = 0 then 'no_face, but no frame was looked at'
            when status = 'no_face' and n_faces > 0 then 'no_face, but a frame is ok'
            when status = 'error' and n_error_columns < 3 then 'error without stage, code or detail'
            when status = 'error' and n_frames > 0 then 'error, but it has frames'
            when status != 'error' and n_error_columns > 0 then 'error stage, code or detail, but no error'
            when status != 'ok' and n_results > 0 then 'not ok, but it has predictions, masks or metrics'
        end as problem
    from counted
),

final as (
    select
        problem,
        run_id,
        video_id,
        status,
        n_frames,
        n_faces,
        n_masks
    from judged
    where problem is not null
    order by problem, run_id, video_id
)

select * from final
