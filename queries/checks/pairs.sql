-- What is made together is there together.
-- Grain: one row per (video, frame, model) without both kinds of prediction, per mask without the prediction from its
-- bottleneck, per (video, model, method, layer) whose masks have no metrics or another number of frames, per face of a
-- video with a truth_uri without truth, and per mask of a frame with a forged region without localisation.
with predicted as (
    select
        run_id,
        video_id,
        frame,
        model,
        count(*) filter (where not bottleneck) as n_without,
        count(*) filter (where bottleneck) as n_with,
        count(*) filter (where bottleneck = (layer = '') or bottleneck = (method = '')) as n_misnamed,
        count(distinct target) as n_targets
    from predictions
    group by run_id, video_id, frame, model
),

explained as (
    select
        run_id,
        video_id,
        model,
        method,
        layer,
        count(*) as n_masks
    from masks
    group by run_id, video_id, model, method, layer
),

problems as (
    select
        case
            when n_without = 0 then 'no prediction without the bottleneck'
            when n_with = 0 then 'no prediction with the bottleneck'
            when n_misnamed > 0 then 'prediction whose method or layer does not fit its bottleneck'
            else 'predictions of one frame name different targets'
        end as problem,
        run_id,
        video_id,
        concat_ws(' ', frame, model) as key
    from predicted
    where n_without = 0 or n_with = 0 or n_misnamed > 0 or n_targets > 1
    union all
    select
        'masks row without the prediction from its bottleneck' as problem,
        masks.run_id,
        masks.video_id,
        concat_ws(' ', masks.frame, masks.model, masks.method, masks.layer) as key
    from masks
    anti join predictions
        on
            masks.run_id = predictions.run_id
            and masks.video_id = predictions.video_id
            and masks.frame = predictions.frame
            and masks.model = predictions.model
            and masks.method = predictions.method
            and masks.layer = predictions.layer
            and predictions.bottleneck
    union all
    select
        'masks without metrics' as problem,
        explained.run_id,
        explained.video_id,
        concat_ws(' ', explained.model, explained.method, explained.layer) as key
    from explained
    anti join metrics using (run_id, video_id, model, method, layer)
    union all
    select
        'metrics over another number of frames than there are masks' as problem,
        metrics.run_id,
        metrics.video_id,
        concat_ws(' ', metrics.model, metrics.method, metrics.layer, metrics.mask_rule) as key
    from metrics
    inner join explained using (run_id, video_id, model, method, layer)
    where metrics.n_frames != explained.n_masks
    union all
    select
        'frame with a face without truth, though its video has a truth_uri' as problem,
        frames.run_id,
        frames.video_id,
        frames.frame::varchar as key
    from frames
    inner join videos using (run_id, video_id)
    anti join truth using (run_id, video_id, frame)
    where frames.status = 'ok' and videos.truth_uri is not null
    union all
    select
        'masks row of a forged frame without localisation' as problem,
        masks.run_id,
        masks.video_id,
        concat_ws(' ', masks.frame, masks.model, masks.method, masks.layer) as key
    from masks
    inner join truth using (run_id, video_id, frame)
    anti join localisation_frames using (run_id, video_id, frame, model, method, layer)
    where list_max(truth.mask) > 0
),

final as (
    select *
    from problems
    order by problem, run_id, video_id, key
)

select * from final
