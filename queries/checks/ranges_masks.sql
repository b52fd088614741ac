-- A map fills its grid, finite and within its scale, or says why it is not there; its box lies in the frame.
-- Grain: one row per mask that breaks a rule, with the first one broken.
with placed as (
    select
        masks.*,
        videos.width as frame_width,
        videos.height as frame_height
    from masks
    inner join videos using (run_id, video_id)
),

judged as (
    select
        *,
        case
            when least(height, width, input_size, span_frames) <= 0 then 'empty grid'
            when (error_code is null) != (saliency is not null) then 'a map and an error, or neither'
            when (saliency is null) != (scale is null) or (saliency is null) != (empty is null)
                then 'a map without scale or emptiness, or these without a map'
            when len(saliency) != height * width then 'saliency is not height * width long'
            when list_count(saliency) != len(saliency) then 'saliency has NULLs'
            -- NaN sorts above every number
            when not (list_max(saliency) <= 1 and list_min(saliency) >= -1) then 'saliency beyond its scale'
            when not (isfinite(scale) and scale > 0) then 'scale not positive and finite'
            when unit = 'bits per pixel' and list_min(saliency) < 0 then 'negative bits'
            when unit = 'bits per pixel' and error_code is null and total_bits is null then 'bits without their total'
            when not (isfinite(total_bits) and total_bits >= 0) then 'total_bits negative or not finite'
            when not (isfinite(floor_bits) and floor_bits >= 0) then 'floor_bits negative or not finite'
            when (floor_bits is null) != (total_bits is null) then 'total_bits or floor_bits without the other'
            when total_bits is null and empty and list_max(saliency) > 0 then 'empty, but something is highlighted'
            when empty != (total_bits <= 1.05 * floor_bits) then 'empty, or not, against what its bits say'
            when not (isfinite(loss_first) and isfinite(loss_last)) then 'loss not finite'
            when first_frame > frame then 'frame before the first of its sample'
            when least(box_x, box_y) < 0 or least(box_width, box_height) <= 0 then 'box outside the frame'
            when box_x + box_width > frame_width or box_y + box_height > frame_height then 'box outside the frame'
        end as problem
    from placed
),

final as (
    select
        problem,
        run_id,
        video_id,
        frame,
        model,
        method,
        layer,
        target,
        height,
        width,
        scale,
        total_bits,
        floor_bits,
        loss_first,
        loss_last,
        error_code,
        len(saliency) as saliency_length
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame, model, method, layer, target
)

select * from final
