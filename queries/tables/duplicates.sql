-- Duplicates: videos of different splits that look alike, by the fingerprints of their keyframes.
-- Grain: one row per pair of videos of different splits of which at least half of the keyframes are alike.
-- Two keyframes are alike where at most 4 of 64 bits of their fingerprints differ: compression and size change fewer,
-- of unrelated frames hardly any pair differs in fewer than 16. n_frames: different fingerprints of the video that has
-- fewer, n_alike: of these, those alike to one of the other's; distance: mean bits in which they differ. A genuine
-- video and its forgery are alike, too: apart in splits, what was trained on one is known of the other.
with prints as (
    select distinct
        frames.run_id,
        frames.video_id,
        videos.split,
        frames.fingerprint
    from frames
    inner join videos using (run_id, video_id)
    where frames.fingerprint is not null and videos.split is not null
),

sizes as (
    select
        run_id,
        video_id,
        count(*) as n_frames
    from prints
    group by run_id, video_id
),

places as (
    select unnest(range(0, 5)) as place
),

words as (
    -- of five words at least one is the same where four bits differ
    select
        prints.run_id,
        prints.video_id,
        prints.split,
        prints.fingerprint,
        places.place,
        (prints.fingerprint >> (13 * places.place)::ubigint) & 8191 as word
    from prints
    cross join places
),

near as (
    select distinct
        words.run_id,
        words.video_id,
        words.fingerprint,
        others.video_id as other_id,
        others.fingerprint as other_fingerprint,
        bit_count(xor(words.fingerprint, others.fingerprint)) as distance
    from words
    inner join words as others
        on
            words.run_id = others.run_id
            and words.place = others.place
            and words.word = others.word
            and words.split < others.split
    where bit_count(xor(words.fingerprint, others.fingerprint)) <= 4
),

pairs as (
    select
        run_id,
        video_id,
        other_id,
        least(count(distinct fingerprint), count(distinct other_fingerprint)) as n_alike,
        avg(distance) as distance
    from near
    group by run_id, video_id, other_id
),

final as (
    select
        pairs.video_id,
        videos.split,
        videos.label,
        pairs.other_id,
        others.split as other_split,
        others.label as other_label,
        pairs.n_alike,
        pairs.distance,
        videos.uri,
        others.uri as other_uri,
        least(sizes.n_frames, other_sizes.n_frames) as n_frames
    from pairs
    inner join sizes using (run_id, video_id)
    inner join sizes as other_sizes on pairs.run_id = other_sizes.run_id and pairs.other_id = other_sizes.video_id
    inner join videos using (run_id, video_id)
    inner join videos as others on pairs.run_id = others.run_id and pairs.other_id = others.video_id
    where 2 * pairs.n_alike >= least(sizes.n_frames, other_sizes.n_frames)
    order by pairs.video_id, pairs.other_id
)

select * from final
