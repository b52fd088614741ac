-- Metrics lie where their definitions put them.
-- Grain: one row per metrics row that breaks a rule, with the first one broken.
with judged as (
    select
        *,
        case
            when n_frames <= 0 then 'no frames'
            when not n_empty between 0 and n_frames then 'n_empty outside [0, n_frames]'
            when n_empty = n_frames and tcs > 0 then 'highlighted pixels in empty maps'
            when not iou between 0 and 1 then 'iou outside [0, 1]'
            -- masks of half the frame that do not touch are the worst there is: IoU 0 where chance gives 1/3
            when not iou_adjusted between -0.5 - 1e-9 and 1 then 'iou_adjusted outside [-1/2, 1]'
            when not tcs between 0 and 1 then 'tcs outside [0, 1]'
            when not persistence between 0 and 1 then 'persistence outside [0, 1]'
            when not rpi between 0 and 1 then 'rpi outside [0, 1]'
            when iou is null and iou_adjusted is not null then 'iou_adjusted without iou'
            when (tcs > 0) != (persistence is not null) then 'persistence defined without highlighted pixels, or not'
            when n_frames < 2 and coalesce(iou, rpi) is not null then 'iou or rpi of a single frame'
        end as problem
    from metrics
),

final as (
    select
        problem,
        run_id,
        video_id,
        model,
        method,
        layer,
        target,
        mask_rule,
        n_frames,
        n_empty,
        iou,
        iou_adjusted,
        tcs,
        persistence,
        rpi
    from judged
    where problem is not null
    order by problem, run_id, video_id, model, method, layer, target, mask_rule
)

select * from final
