-- What can be judged of a run, in the order in which frames are chosen: by a hash of video and frame.
-- Grain: one row per (video, frame, model, target), with the number of its maps: those of a clip's cells of time are
-- one, and with what they took.
with final as (
    select
        video_id,
        first_frame,
        model,
        target,
        count(distinct concat(method, ' ', layer)) as n_maps,
        coalesce(sum(evaluations), 0)::bigint as evaluations
    from masks
    where error_code is null
    group by video_id, first_frame, model, target
    order by md5(concat(video_id, ' ', first_frame)), video_id, first_frame, model, target
)

select * from final
