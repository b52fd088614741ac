-- Whether a method passes the sanity tests, in words: a gate, never a rank.
-- Grain: one row per (model, layer, method), of maps that were judged.
-- weights: mean |Spearman| of the maps before and after the weights of all layers were permuted, fails above .5: the
-- map shows the input and not what was learned. class: the same of the maps for two classes, fails above .9. labels: of
-- a detector trained on permuted labels, fails above .5. same_map: mean correlation of maps of different videos, fails
-- above .9: the method draws the same whatever it is shown.
with tests as (
    select
        model,
        layer,
        method,
        avg(abs(similarity)) filter (where test = 'weights' and depth = 1) as weights,
        avg(abs(similarity)) filter (where test = 'class') as class,
        avg(abs(similarity)) filter (where test = 'labels') as labels
    from sanity
    group by model, layer, method
),

maps as (
    select
        model,
        layer,
        method,
        avg(same_map) as same_map
    from judged_maps
    where variant = ''
    group by model, layer, method
),

judged_methods as (
    select
        maps.model,
        maps.layer,
        maps.method,
        [
            case
                when tests.weights > 0.5
                    then format('the map stays {:.2f} the same with all weights permuted', tests.weights)
            end,
            case when tests.class > 0.9 then format('the maps of two classes are {:.2f} the same', tests.class) end,
            case
                when tests.labels > 0.5
                    then format('with permuted labels learned it is {:.2f} the same', tests.labels)
            end,
            case when maps.same_map > 0.9 then format('maps of different videos are {:.2f} the same', maps.same_map) end
        ] as reasons,
        tests.weights is not null or tests.class is not null as tested
    from maps
    left join tests using (model, layer, method)
),

final as (
    select
        model,
        layer,
        method,
        case
            when list_count(reasons) > 0 then concat('fails: ', array_to_string(reasons, '; '))
            when tested then 'passes'
            else 'not tested'
        end as sanity
    from judged_methods
    order by model, layer, method
)

select * from final
