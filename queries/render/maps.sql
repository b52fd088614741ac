-- What is drawn of some videos of one run.
-- Grain: one row per map, with the time of its sample's first frame and the face's track from there, what the model
-- says of the class without and with the bottleneck, and of an empty map why it is.
with wanted as (
    select unnest($video_ids) as video_id
),

final as (
    select
        masks.video_id,
        masks.first_frame,
        masks.frame,
        frames.time_s,
        frames.track,
        videos.fps,
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
        through.probability as probability_bottleneck,
        empty_maps.why,
        empty_maps.p_noise
    from masks
    inner join wanted
        on masks.video_id = wanted.video_id
    inner join frames
        on
            masks.run_id = frames.run_id
            and masks.video_id = frames.video_id
            and masks.first_frame = frames.frame
    left join videos
        on
            masks.run_id = videos.run_id
            and masks.video_id = videos.video_id
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
    left join empty_maps
        on
            masks.run_id = empty_maps.run_id
            and masks.video_id = empty_maps.video_id
            and masks.first_frame = empty_maps.first_frame
            and masks.frame = empty_maps.frame
            and masks.model = empty_maps.model
            and masks.method = empty_maps.method
            and masks.layer = empty_maps.layer
            and masks.target = empty_maps.target
    where masks.run_id = $run_id and masks.error_code is null
    order by
        masks.video_id,
        masks.first_frame,
        masks.frame,
        masks.model,
        masks.method,
        masks.layer,
        masks.target
)

select * from final
