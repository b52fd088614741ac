-- No key of a table occurs twice.
-- Grain: one row per (table, key) that does; n_rows is how often.
with keys as (
    select
        'runs' as table_name,
        run_id,
        null as video_id,
        null as key
    from runs
    union all
    select
        'videos' as table_name,
        run_id,
        video_id,
        null as key
    from videos
    union all
    select
        'frames' as table_name,
        run_id,
        video_id,
        concat_ws(' ', frame) as key
    from frames
    union all
    select
        'predictions' as table_name,
        run_id,
        video_id,
        concat_ws(' ', frame, model, method, layer, bottleneck) as key
    from predictions
    union all
    select
        'masks' as table_name,
        run_id,
        video_id,
        concat_ws(' ', frame, model, method, layer) as key
    from masks
    union all
    select
        'metrics' as table_name,
        run_id,
        video_id,
        concat_ws(' ', model, method, layer, mask_rule) as key
    from metrics
    union all
    select
        'truth' as table_name,
        run_id,
        video_id,
        concat_ws(' ', frame) as key
    from truth
    union all
    select
        'localisation_frames' as table_name,
        run_id,
        video_id,
        concat_ws(' ', frame, model, method, layer) as key
    from localisation_frames
),

final as (
    select
        'key occurs more than once' as problem,
        table_name,
        run_id,
        video_id,
        key,
        count(*) as n_rows
    from keys
    group by table_name, run_id, video_id, key
    having count(*) > 1
    order by table_name, run_id, video_id, key
)

select * from final
