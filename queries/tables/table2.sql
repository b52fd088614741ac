-- Table 2: how well a detector does, without and with the bottleneck.
-- Grain: one row per (model, bottleneck, method), over the labelled videos that have predictions; method is empty
-- without the bottleneck.
-- A prediction is one per video, as a label belongs to a video: the mean of prob_fake over its explained frames, and
-- over the layers where a run explains several; fake above 0.5. n counts videos.
-- accuracy, precision, recall: shares in [0, 1]; precision and recall are for the class fake and NULL where nothing
-- is predicted fake, or nothing is fake.
-- ece: expected calibration error (Guo et al. 2017), a fraction: sum over 15 equal bins (lo, hi] of
-- |bin| / n * |accuracy - confidence|, the confidence being the larger of the video's two class probabilities.
with video_predictions as (
    select
        run_id,
        video_id,
        model,
        bottleneck,
        method,
        avg(prob_fake) as prob_fake
    from predictions
    group by run_id, video_id, model, bottleneck, method
),

labelled as (
    select
        video_predictions.model,
        video_predictions.bottleneck,
        video_predictions.method,
        videos.label = 'fake' as is_fake,
        video_predictions.prob_fake > 0.5 as predicted_fake,
        greatest(video_predictions.prob_fake, 1 - video_predictions.prob_fake) as confidence
    from video_predictions
    inner join videos using (run_id, video_id)
    where videos.label in ('real', 'fake')
),

scored as (
    select
        *,
        (is_fake = predicted_fake)::int as is_right,
        -- prob_fake has the precision of a float32: what differs from an edge by rounding alone lies on the edge
        ceil(round(confidence * 15, 5)) as bin
    from labelled
),

bins as (
    select
        model,
        bottleneck,
        method,
        count(*) as bin_size,
        abs(avg(is_right) - avg(confidence)) as gap
    from scored
    group by model, bottleneck, method, bin
),

calibration as (
    select
        model,
        bottleneck,
        method,
        sum(bin_size * gap) / sum(bin_size) as ece
    from bins
    group by model, bottleneck, method
),

performance as (
    select
        model,
        bottleneck,
        method,
        count(*) as n,
        avg(is_right) as accuracy,
        avg(is_fake::int) filter (where predicted_fake) as precision,
        avg(predicted_fake::int) filter (where is_fake) as recall
    from scored
    group by model, bottleneck, method
),

final as (
    select
        performance.model,
        performance.bottleneck,
        performance.method,
        performance.n,
        performance.accuracy,
        performance.precision,
        performance.recall,
        calibration.ece
    from performance
    inner join calibration using (model, bottleneck, method)
    order by performance.model, performance.bottleneck, performance.method
)

select * from final
