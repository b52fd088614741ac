-- Every row has the rows it belongs to.
-- Grain: one row per row without its parent.
with orphans as (
    select
        'videos row without its run' as problem,
        videos.run_id,
        videos.video_id,
        null as key
    from videos
    anti join runs using (run_id)
    union all
    select
        'frames row without its video' as problem,
        frames.run_id,
        frames.video_id,
        frames.frame::varchar as key
    from frames
    anti join videos using (run_id, video_id)
    union all
    select
        'predictions row without its frame' as problem,
        predictions.run_id,
        predictions.video_id,
        concat_ws(' ', predictions.frame, predictions.model, predictions.method, predictions.layer) as key
    from predictions
    anti join frames using (run_id, video_id, frame)
    union all
    select
        'masks row without its frame' as problem,
        masks.run_id,
        masks.video_id,
        concat_ws(' ', masks.frame, masks.model, masks.method, masks.layer) as key
    from masks
    anti join frames using (run_id, video_id, frame)
    union all
    select
        'metrics row without its masks' as problem,
        metrics.run_id,
        metrics.video_id,
        concat_ws(' ', metrics.model, metrics.method, metrics.layer, metrics.mask_rule) as key
    from metrics
    anti join masks using (run_id, video_id, model, method, layer)
    union all
    select
        'truth row without its frame' as problem,
        truth.run_id,
        truth.video_id,
        truth.frame::varchar as key
    from truth
    anti join frames using (run_id, video_id, frame)
    union all
    select
        'localisation_frames row without its mask' as problem,
        localisation_frames.run_id,
        localisation_frames.video_id,
        concat_ws(
            ' ',
            localisation_frames.frame,
            localisation_frames.model,
            localisation_frames.method,
            localisation_frames.layer
        ) as key
    from localisation_frames
    anti join masks using (run_id, video_id, frame, model, method, layer)
    union all
    select
        'localisation_frames row without its truth' as problem,
        localisation_frames.run_id,
        localisation_frames.video_id,
        concat_ws(
            ' ',
            localisation_frames.frame,
            localisation_frames.model,
            localisation_frames.method,
            localisation_frames.layer
        ) as key
    from localisation_frames
    anti join truth using (run_id, video_id, frame)
),

final as (
    select *
    from orphans
    order by problem, run_id, video_id, key
)

select * from final
