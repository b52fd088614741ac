-- Why maps are empty: what the model says of noise alone, by `closed`, and of what the map leaves, by `predictions`.
-- Grain: one row per map of `masks` that is empty. why: 'noise', where noise alone is judged to be of the target;
-- 'enough', where it is judged otherwise, and with the little that the fit leaves as the target; 'neither', where that
-- is judged otherwise, too: nothing speaks for the target; NULL where it is not known: without a bottleneck, or where
-- other paths lead round the layer. p_noise and p_left are the target's probabilities.
with final as (
    select
        masks.run_id,
        masks.video_id,
        masks.first_frame,
        masks.frame,
        masks.model,
        masks.method,
        masks.layer,
        masks.target,
        closed.probability as p_noise,
        through.probability as p_left,
        case
            when masks.total_bits is null or closed.rank is null then null
            when closed.rank = 1 then 'noise'
            when through.rank = 1 then 'enough'
            else 'neither'
        end as why
    from masks
    left join closed
        on
            masks.run_id = closed.run_id
            and masks.model = closed.model
            and masks.layer = closed.layer
            and masks.target = closed.class
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
    where masks.empty
)

select * from final
