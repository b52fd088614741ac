-- What is drawn of one video of one run.
-- Grain: one row per mask, with its frame's time and face box and what the model says without and with the bottleneck.
with final as (
    select
        masks.frame,
        frames.time_s,
        frames.face_x,
        frames.face_y,
        frames.face_width,
        frames.face_height,
        frames.face_score,
        masks.model,
        masks.method,
        masks.layer,
        masks.height,
        masks.width,
        masks.saliency,
        masks.input_size,
        masks.total_bits,
        plain.target,
        plain.prob_fake,
        through.prob_fake as prob_fake_bottleneck
    from masks
    inner join frames using (run_id, video_id, frame)
    inner join predictions as plain
        on
            masks.run_id = plain.run_id
            and masks.video_id = plain.video_id
            and masks.frame = plain.frame
            and masks.model = plain.model
            and not plain.bottleneck
    left join predictions as through
        on
            masks.run_id = through.run_id
            and masks.video_id = through.video_id
            and masks.frame = through.frame
            and masks.model = through.model
            and masks.method = through.method
            and masks.layer = through.layer
            and through.bottleneck
    where masks.run_id = $run_id and masks.video_id = $video_id
    order by masks.frame
)

select * from final
