-- Figure 2: how often people and maps name each region of the face, and how often both do.
-- Grain: one row per (model, method, layer, target, region), over the videos of table 4; what people and maps name is
-- told there.
-- people, map, match (both of them): shares of the n_videos videos. chance: people * map, the expectation of match if
-- the videos of people's answers are permuted; p: the probability of as many or more then (hypergeometric).
with named as (
    select
        map_regions.model,
        map_regions.method,
        map_regions.layer,
        map_regions.target,
        map_regions.region,
        map_regions.excess > 0 as by_map,
        list_contains(people_regions.regions, map_regions.region) as by_people
    from map_regions
    inner join people_regions using (video_id)
    -- a video whose map names nothing is not in table 4
    qualify bool_or(map_regions.excess > 0) over (
        partition by
            map_regions.run_id,
            map_regions.video_id,
            map_regions.model,
            map_regions.method,
            map_regions.layer,
            map_regions.target
    )
),

counted as (
    select
        model,
        method,
        layer,
        target,
        region,
        count(*) as n_videos,
        count(*) filter (where by_people) as n_people,
        count(*) filter (where by_map) as n_map,
        count(*) filter (where by_people and by_map) as n_both
    from named
    group by model, method, layer, target, region
),

sizes as (
    select max(n_videos) as n_videos
    from counted
),

numbers as (
    select unnest(range(0, n_videos + 1)) as k
    from sizes
),

tails as (
    -- the share, as a logarithm, of the ways to lay the map's videos over all videos that put k of them on people's
    select
        counted.*,
        lgamma(counted.n_people + 1)
        - lgamma(numbers.k + 1)
        - lgamma(counted.n_people - numbers.k + 1)
        + lgamma(counted.n_videos - counted.n_people + 1)
        - lgamma(counted.n_map - numbers.k + 1)
        - lgamma(counted.n_videos - counted.n_people - counted.n_map + numbers.k + 1)
        - lgamma(counted.n_videos + 1)
        + lgamma(counted.n_map + 1)
        + lgamma(counted.n_videos - counted.n_map + 1) as log_probability
    from counted
    inner join numbers on numbers.k between counted.n_both and least(counted.n_people, counted.n_map)
),

final as (
    select
        model,
        method,
        layer,
        target,
        region,
        any_value(n_videos) as n_videos,
        any_value(n_people / n_videos) as people,
        any_value(n_map / n_videos) as map,
        any_value(n_both / n_videos) as match,
        any_value(n_people * n_map / n_videos ** 2) as chance,
        least(1, sum(exp(log_probability))) as p
    from tails
    group by model, method, layer, target, region
    order by model, method, layer, target, region
)

select * from final
