-- Table 3: how steady the explanations of a video are, mean over videos.
-- Grain: one row per (model, method, layer, target, mask_rule, label); label is NULL for videos whose label is unknown.
-- n_videos counts the videos with a map for the target; n_maps their maps, of which n_empty are empty: their mask is,
-- too. Each mean is over the videos where the figure is defined, NULL where there is none. iou, tcs, persistence, rpi:
-- shares in [0, 1]; iou_adjusted: 1 is full overlap, 0 the overlap of independent masks of the same areas.
with final as (
    select
        metrics.model,
        metrics.method,
        metrics.layer,
        metrics.target,
        metrics.mask_rule,
        videos.label,
        avg(metrics.iou) as iou,
        avg(metrics.iou_adjusted) as iou_adjusted,
        avg(metrics.tcs) as tcs,
        avg(metrics.persistence) as persistence,
        avg(metrics.rpi) as rpi,
        count(*) as n_videos,
        sum(metrics.n_frames)::bigint as n_maps,
        sum(metrics.n_empty)::bigint as n_empty
    from metrics
    inner join videos using (run_id, video_id)
    group by metrics.model, metrics.method, metrics.layer, metrics.target, metrics.mask_rule, videos.label
    order by metrics.model, metrics.method, metrics.layer, metrics.target, metrics.mask_rule, videos.label
)

select * from final
