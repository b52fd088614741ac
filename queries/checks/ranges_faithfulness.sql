-- Scores, curves and similarities lie where their definitions put them.
-- Grain: one row per faithfulness, faithfulness_curves or sanity row that breaks a rule, with the first one broken.
with scores as (
    select
        run_id,
        video_id,
        concat_ws(' ', frame, model, method, layer, target, variant, metric, fill) as key,
        case
            when metric in ('insertion', 'deletion', 'adv_area') and not value between 0 and 1
                then concat(metric, ' outside [0, 1]')
            when metric = 'adv_flip' and value not in (0, 1) then 'adv_flip is neither 0 nor 1'
            when metric in ('srg', 'road', 'road_accuracy', 'sensitivity_n', 'adv_drop') and not abs(value) <= 1 + 1e-9
                then concat(metric, ' outside [-1, 1]')
        end as problem
    from faithfulness
),

curves_of_maps as (
    select
        run_id,
        video_id,
        concat_ws(' ', frame, model, method, layer, target, variant, removal, fill) as key,
        case
            when len(removed) != len(probability) then 'shares and probabilities of another length'
            when removed[1] != 0 or removed[-1] != 1 then 'a curve that does not end with everything removed'
            when not (list_min(probability) >= 0 and list_max(probability) <= 1) then 'probability outside [0, 1]'
        end as problem
    from faithfulness_curves
),

tests as (
    select
        run_id,
        video_id,
        concat_ws(' ', frame, model, method, layer, target, test, place, seed) as key,
        case
            when not abs(similarity) <= 1 + 1e-9 then 'similarity outside [-1, 1]'
            when not (depth > 0 and depth <= 1) then 'depth outside (0, 1]'
        end as problem
    from sanity
),

everything as (
    select * from scores
    union all
    select * from curves_of_maps
    union all
    select * from tests
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
