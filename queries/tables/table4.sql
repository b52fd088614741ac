-- Table 4: what people and maps name alike, beside what chance would bring.
-- Grain: one row per (model, method, layer, target, measure), over the videos labelled fake of which people named a
-- region and that have a map with heat over the face.
-- People name the (at most) three regions that most annotators named when they first saw the video; of equal ones a
-- fixed draw decides. A map names the regions that hold more of its heat than of the picture, mean over the
-- video's maps.
-- Measures, means over videos of the regions that both name: precision (over those of the map), recall (over those of
-- people), overlap (over the smaller number of the two, Szymkiewicz-Simpson), top1 (whether the map names the region
-- that most people name); f1 is the harmonic mean of mean precision and mean recall, as in VIBA.
-- chance: the mean over all pairs of what people say of one video and the map of another or the same, which is the
-- expectation if the videos of people's answers are permuted. p: the share of 1,000 such permutations, and of what was
-- observed, that score as much or more. n_people, n_map: regions named per video.
with maps as (
    select
        run_id,
        video_id,
        model,
        method,
        layer,
        target,
        list(region order by excess desc) as map
    from map_regions
    where excess > 0
    group by run_id, video_id, model, method, layer, target
),

compared as (
    select
        maps.*,
        people_regions.regions as people,
        row_number() over (
            partition by maps.model, maps.method, maps.layer, maps.target order by maps.video_id, maps.run_id
        ) as place
    from maps
    inner join people_regions using (video_id)
),

crossed as (
    select
        answered.model,
        answered.method,
        answered.layer,
        answered.target,
        answered.place as of_people,
        explained.place as of_map,
        len(list_intersect(answered.people, explained.map)) as n_both,
        len(answered.people) as n_people,
        len(explained.map) as n_map,
        list_contains(explained.map, answered.people[1])::int as top1
    from compared as answered
    inner join compared as explained using (model, method, layer, target)
),

numbers as (
    select unnest(range(0, 1001)) as draw
),

draws as (
    select
        compared.model,
        compared.method,
        compared.layer,
        compared.target,
        numbers.draw,
        compared.place as of_map,
        row_number() over (
            partition by compared.model, compared.method, compared.layer, compared.target, numbers.draw
            order by
                if(
                    numbers.draw = 0,
                    lpad(compared.place::varchar, 9, '0'),
                    md5(concat_ws(' ', numbers.draw, compared.video_id))
                )
        ) as of_people
    from compared
    cross join numbers
),

pairings as (
    -- draw 0 leaves every video with its own answers; draw -1 is every pair there is
    select
        model,
        method,
        layer,
        target,
        draw,
        of_people,
        of_map
    from draws
    union all
    select
        model,
        method,
        layer,
        target,
        -1 as draw,
        of_people,
        of_map
    from crossed
),

means as (
    select
        model,
        method,
        layer,
        target,
        pairings.draw,
        count(*) as n_videos,
        avg(crossed.n_people) as n_people,
        avg(crossed.n_map) as n_map,
        avg(crossed.n_both / crossed.n_map) as precision,
        avg(crossed.n_both / crossed.n_people) as recall,
        avg(crossed.n_both / least(crossed.n_people, crossed.n_map)) as overlap,
        avg(crossed.top1) as top1
    from pairings
    inner join crossed using (model, method, layer, target, of_people, of_map)
    group by model, method, layer, target, pairings.draw
),

measured as (
    select
        *,
        unnest(['precision', 'recall', 'f1', 'overlap', 'top1']) as measure,
        unnest([
            precision, recall, coalesce(2 * precision * recall / nullif(precision + recall, 0), 0), overlap, top1
        ]) as value
    from means
),

observed as (
    select *
    from measured
    where draw = 0
),

final as (
    select
        observed.model,
        observed.method,
        observed.layer,
        observed.target,
        observed.measure,
        any_value(observed.n_videos) as n_videos,
        any_value(observed.n_people) as n_people,
        any_value(observed.n_map) as n_map,
        any_value(observed.value) as value,
        any_value(measured.value) filter (where measured.draw = -1) as chance,
        -- sums in another order differ by rounding
        avg((measured.value >= observed.value - 1e-9)::int) filter (where measured.draw >= 0) as p
    from observed
    inner join measured using (model, method, layer, target, measure)
    group by observed.model, observed.method, observed.layer, observed.target, observed.measure
    order by observed.model, observed.method, observed.layer, observed.target, observed.measure
)

select * from final
