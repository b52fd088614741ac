-- What is drawn of one video of one run.
-- Grain: one row per map, with its frame's time and what the model says of the class without and with the bottleneck.
with final as (
    select
        masks.frame,
        frames.time_s,
        masks.span_frames,
        masks.box_x,
        masks.box_y,
        masks.box_width,
        masks.box_height,
        masks.model,
        masks.method,
        masks.layer,
        masks.target,
        masks.height,
        masks.width,
        masks.saliency,
        masks.scale,
        masks.unit,
        masks.empty,
        masks.input_size,
        masks.total_bits,
        plain.probability,
        through.probability as probability_bottleneck
    from masks
    inner join frames using (run_id, video_id, frame)
    inner join predictions as plain
        on
            masks.run_id = plain.run_id
            and masks.video_id = plain.video_id
            and masks.first_frame = plain.frame
            and masks.model = plain.model
            and masks.target = plain.class
            and plain.method = ''
    left join predictions as through
        on
            masks.run_id = through.run_id
            and masks.video_id = through.video_id
            and masks.first_frame = through.frame
            and masks.model = through.model
            and masks.method = through.method
            and masks.layer = through.layer
            and masks.target = through.target
            and masks.target = through.class
    where masks.run_id = $run_id and masks.video_id = $video_id and masks.error_code is null
    order by masks.frame
)

select * from final
