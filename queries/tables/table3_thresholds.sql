-- Table 3 by threshold: how steady explanations are when a mask is what is at least so much of the map's maximum.
-- Grain: one row per (model, method, layer, target, label, threshold); label is NULL for videos whose label is unknown.
-- Masks are made here from the stored maps, at the size the method gives: the figures of threshold .5 are those of the
-- mask rule max0.5 of table3 but for the upsampling to the input. iou_adjusted: 0 for independent masks of their areas.
-- Every cell of a map is looked at nine times, so that of a run with more than 1,000 videos so many count, by a hash.
with chosen as (
    select
        run_id,
        video_id
    from videos
    where status = 'ok'
    qualify row_number() over (partition by run_id order by md5(video_id)) <= 1000
),

thresholds as (
    select
        masks.run_id,
        masks.video_id,
        masks.model,
        masks.method,
        masks.layer,
        masks.target,
        masks.frame,
        masks.empty,
        masks.saliency,
        list_max(masks.saliency) as most,
        unnest(range(1, 10)) / 10.0 as threshold
    from masks
    semi join chosen using (run_id, video_id)
    where masks.error_code is null
),

maps as (
    select
        run_id,
        video_id,
        model,
        method,
        layer,
        target,
        frame,
        threshold,
        list_transform(saliency, lambda x: not empty and x > 0 and x >= threshold * most) as mask
    from thresholds
),

following as (
    select
        *,
        len(list_filter(mask, lambda x: x)) as area,
        lag(mask) over (
            partition by run_id, video_id, model, method, layer, target, threshold
            order by frame
        ) as mask_before
    from maps
),

counted as (
    select
        *,
        len(mask) as n_cells,
        len(list_filter(mask_before, lambda x: x)) as area_before,
        len(list_filter(list_zip(mask, mask_before), lambda x: x[1] and x[2])) as area_both
    from following
),

pairs as (
    select
        *,
        area_both / nullif(area + area_before - area_both, 0) as iou,
        area * area_before / nullif(n_cells * (area + area_before) - area * area_before, 0) as chance
    from counted
),

of_videos as (
    select
        run_id,
        video_id,
        model,
        method,
        layer,
        target,
        threshold,
        count(*) as n_maps,
        avg(iou) as iou,
        avg((iou - chance) / nullif(1 - chance, 0)) as iou_adjusted,
        avg(area / n_cells) as tcs
    from pairs
    group by run_id, video_id, model, method, layer, target, threshold
),

final as (
    select
        of_videos.model,
        of_videos.method,
        of_videos.layer,
        of_videos.target,
        videos.label,
        of_videos.threshold::double as threshold,
        count(*) as n_videos,
        sum(of_videos.n_maps)::bigint as n_maps,
        avg(of_videos.iou) as iou,
        avg(of_videos.iou_adjusted) as iou_adjusted,
        avg(of_videos.tcs) as tcs
    from of_videos
    inner join videos using (run_id, video_id)
    group by
        of_videos.model, of_videos.method, of_videos.layer, of_videos.target, videos.label, of_videos.threshold
    order by
        of_videos.model, of_videos.method, of_videos.layer, of_videos.target, videos.label, of_videos.threshold
)

select * from final
