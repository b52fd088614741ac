-- A video that was judged was judged with all of its maps, or says why not.
-- Grain: one row per judged row that breaks a rule, and per map of a judged video that was not judged.
with judged_rows as (
    select
        run_id,
        video_id,
        '' as key,
        case
            when status not in ('ok', 'error') then 'unknown status'
            when status = 'error' and list_count([error_stage, error_code, error_detail]) < 3
                then 'error without stage, code or detail'
            when status = 'ok' and list_count([error_stage, error_code, error_detail]) > 0
                then 'error stage, code or detail, but no error'
        end as problem
    from judged
),

maps as (
    select
        masks.run_id,
        masks.video_id,
        concat_ws(' ', masks.frame, masks.model, masks.method, masks.layer, masks.target) as key,
        'map of a judged video that was not judged' as problem
    from masks
    semi join judged
        on
            masks.run_id = judged.run_id
            and masks.video_id = judged.video_id
            and judged.status = 'ok'
    anti join judged_maps using (run_id, video_id, first_frame, frame, model, method, layer, target)
    where masks.error_code is null
),

everything as (
    select * from judged_rows
    union all
    select * from maps
),

final as (
    select
        problem,
        run_id,
        video_id,
        key
    from everything
    where problem is not null
    order by problem, run_id, video_id, key
)

select * from final
