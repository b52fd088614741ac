-- Agreement: whether people say the same of a video, and whether one person does who sees it again.
-- Grain: one row per (who, item). who: people (units are videos, values what the annotators said when they first saw
-- them) or self (units are an annotator's videos, values what was said each time). item: a region, named or not;
-- nothing, said or not; answer, the whole set of regions as one value.
-- Units with fewer than two values are left out. same: the share of pairs of values of a unit that are equal, a unit
-- weighing as much as it has values. alpha: Krippendorff's alpha for nominal values, 1 for perfect agreement and 0 for
-- what chance brings; NULL where only one value occurs. low, high: the middle 95 % of alpha when the videos are drawn
-- anew 500 times.
with answers as (
    select
        'people' as who,
        video_id,
        video_id as unit,
        regions
    from annotations
    where showing = 1
    union all
    select
        'self' as who,
        video_id,
        video_id || ' ' || annotator as unit,
        regions
    from annotations
),

items as (
    select
        who,
        video_id,
        unit,
        unnest(['mouth', 'edges', 'brows', 'nose', 'outside', 'chin', 'nothing', 'answer']) as item,
        case item
            when 'nothing' then (len(regions) = 0)::varchar
            when 'answer' then array_to_string(list_sort(regions), ' ')
            else list_contains(regions, item)::varchar
        end as value
    from answers
),

counts as (
    select
        who,
        video_id,
        unit,
        item,
        value,
        count(*) as n_value,
        sum(count(*)) over (partition by who, unit, item) as n_unit
    from items
    group by who, video_id, unit, item, value
    qualify sum(count(*)) over (partition by who, unit, item) >= 2
),

seen as (
    select distinct
        who,
        video_id
    from counts
),

places as (
    select
        who,
        video_id,
        row_number() over (partition by who order by video_id) as place,
        count(*) over (partition by who) as n_videos
    from seen
),

numbers as (
    select unnest(range(0, 501)) as draw
),

weights as (
    -- draw 0 has every video once
    select
        numbers.draw,
        places.who,
        if(
            numbers.draw = 0,
            places.place,
            -- 8 hexadecimal digits of a digest as a number drawn evenly from 0 to 2^32
            1 + floor(
                ('0x' || left(md5(concat_ws(' ', numbers.draw, places.place)), 8))::bigint / 2 ** 32 * places.n_videos
            )::bigint
        ) as place
    from places
    cross join numbers
),

weighted as (
    select
        weights.draw,
        counts.who,
        counts.item,
        counts.value,
        sum(counts.n_value) as n_value,
        sum(counts.n_value * (counts.n_unit - counts.n_value) / (counts.n_unit - 1)) as disagreed
    from weights
    inner join places using (who, place)
    inner join counts using (who, video_id)
    group by weights.draw, counts.who, counts.item, counts.value
),

totals as (
    select
        draw,
        who,
        item,
        sum(n_value) as n,
        sum(disagreed) as disagreed,
        sum(n_value) ** 2 - sum(n_value ** 2) as unequal
    from weighted
    group by draw, who, item
),

alphas as (
    select
        draw,
        who,
        item,
        1 - disagreed / n as same,
        1 - (n - 1) * disagreed / nullif(unequal, 0) as alpha
    from totals
),

sizes as (
    select
        who,
        item,
        count(distinct video_id) as n_videos,
        sum(n_value)::bigint as n_values
    from counts
    group by who, item
),

final as (
    select
        alphas.who,
        alphas.item,
        any_value(sizes.n_videos) as n_videos,
        any_value(sizes.n_values) as n_values,
        any_value(alphas.same) filter (where alphas.draw = 0) as same,
        any_value(alphas.alpha) filter (where alphas.draw = 0) as alpha,
        quantile_cont(alphas.alpha, 0.025) filter (where alphas.draw > 0) as low,
        quantile_cont(alphas.alpha, 0.975) filter (where alphas.draw > 0) as high
    from alphas
    inner join sizes using (who, item)
    group by alphas.who, alphas.item
    order by alphas.who, alphas.item
)

select * from final
