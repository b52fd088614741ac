-- What is made together is there together.
-- Grain: one row per mask without a prediction of the model itself or, where bits pass a bottleneck, without the
-- prediction through it; per prediction through a bottleneck without its mask; per (video, model, method, layer,
-- target) whose maps have no metrics, or metrics of another number of maps or empty ones; per face of a video with a
-- truth_uri without truth; and per map over a forged face without localisation.
with explained as (
    select
        run_id,
        video_id,
        model,
        method,
        layer,
        target,
        count(*) filter (where error_code is null) as n_maps,
        count(*) filter (where empty) as n_empty
    from masks
    group by run_id, video_id, model, method, layer, target
),

problems as (
    select
        'masks row without a prediction of the model itself' as problem,
        masks.run_id,
        masks.video_id,
        concat_ws(' ', masks.first_frame, masks.model, masks.target) as key
    from masks
    anti join predictions
        on
            masks.run_id = predictions.run_id
            and masks.video_id = predictions.video_id
            and masks.first_frame = predictions.frame
            and masks.model = predictions.model
            and masks.target = predictions.class
            and predictions.method = ''
    union all
    select
        'masks row without the prediction through its bottleneck' as problem,
        masks.run_id,
        masks.video_id,
        concat_ws(' ', masks.first_frame, masks.model, masks.method, masks.layer, masks.target) as key
    from masks
    anti join predictions
        on
            masks.run_id = predictions.run_id
            and masks.video_id = predictions.video_id
            and masks.first_frame = predictions.frame
            and masks.model = predictions.model
            and masks.method = predictions.method
            and masks.layer = predictions.layer
            and masks.target = predictions.target
    where masks.total_bits is not null
    union all
    select
        'prediction through a bottleneck without its mask' as problem,
        predictions.run_id,
        predictions.video_id,
        concat_ws(
            ' ', predictions.frame, predictions.model, predictions.method, predictions.layer, predictions.target
        ) as key
    from predictions
    anti join masks
        on
            predictions.run_id = masks.run_id
            and predictions.video_id = masks.video_id
            and predictions.frame = masks.first_frame
            and predictions.model = masks.model
            and predictions.method = masks.method
            and predictions.layer = masks.layer
            and predictions.target = masks.target
    where predictions.method != ''
    union all
    select
        'masks without metrics' as problem,
        explained.run_id,
        explained.video_id,
        concat_ws(' ', explained.model, explained.method, explained.layer, explained.target) as key
    from explained
    anti join metrics using (run_id, video_id, model, method, layer, target)
    where explained.n_maps > 0
    union all
    select
        'metrics of another number of maps or empty ones than there are' as problem,
        metrics.run_id,
        metrics.video_id,
        concat_ws(' ', metrics.model, metrics.method, metrics.layer, metrics.target, metrics.mask_rule) as key
    from metrics
    inner join explained using (run_id, video_id, model, method, layer, target)
    where metrics.n_frames != explained.n_maps or metrics.n_empty != explained.n_empty
    union all
    select
        'frame with a face without truth, though its video has a truth_uri' as problem,
        frames.run_id,
        frames.video_id,
        frames.frame::varchar as key
    from frames
    inner join videos using (run_id, video_id)
    anti join truth using (run_id, video_id, frame)
    where frames.face_x is not null and videos.truth_uri is not null and videos.status = 'ok'
    union all
    select
        'masks row over a forged face without localisation' as problem,
        masks.run_id,
        masks.video_id,
        concat_ws(' ', masks.frame, masks.model, masks.method, masks.layer, masks.target) as key
    from masks
    inner join truth using (run_id, video_id, frame)
    inner join frames using (run_id, video_id, frame)
    anti join localisation_frames using (run_id, video_id, first_frame, frame, model, method, layer, target)
    where
        list_max(truth.mask) > 0
        and masks.error_code is null
        and row(masks.box_x, masks.box_y, masks.box_width, masks.box_height)
        = row(frames.face_x, frames.face_y, frames.face_width, frames.face_height)
),

final as (
    select *
    from problems
    order by problem, run_id, video_id, key
)

select * from final
