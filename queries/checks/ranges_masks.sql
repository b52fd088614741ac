-- Saliency (bits per input pixel) fills its map, finite and not negative, and some bits pass.
-- Grain: one row per mask that breaks a rule, with the first one broken.
with judged as (
    select
        *,
        case
            when least(height, width, input_size) <= 0 then 'empty map'
            when len(saliency) != height * width then 'saliency is not height * width long'
            when list_count(saliency) != len(saliency) then 'saliency has NULLs'
            -- NaN sorts above every number
            when not isfinite(list_max(saliency)) then 'saliency not finite'
            when list_min(saliency) < 0 then 'negative saliency'
            when not (isfinite(total_bits) and total_bits > 0) then 'total_bits not positive and finite'
            when not (isfinite(loss_before) and isfinite(loss_after)) then 'loss not finite'
        end as problem
    from masks
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
        height,
        width,
        total_bits,
        loss_before,
        loss_after,
        len(saliency) as saliency_length
    from judged
    where problem is not null
    order by problem, run_id, video_id, frame, model, method, layer
)

select * from final
