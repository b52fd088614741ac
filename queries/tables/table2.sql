-- Table 2: how well a model does, without and with the bottleneck.
-- Grain: one row per (model, method), over the videos whose label is a class of the model and that have
-- predictions; method is that of the bottleneck, empty without one.
-- A prediction is one per video, as a label belongs to a video: the mean probability of each class over its frames, and
-- over the layers where a run explains several (a class that was not kept counts as 0); the largest decides, of equal
-- ones the model's first. With the bottleneck only fits for the class that the model itself predicts count. n counts
-- videos.
-- accuracy, precision, recall: shares in [0, 1]. Of two classes precision and recall are those of the second one (fake)
-- and NULL where nothing is predicted so, or nothing is so; of more they are means over the classes that occur as label
-- or prediction (macro), 0 for a class that is never predicted, or never there.
-- ece: expected calibration error (Guo et al. 2017), a fraction: sum over 15 equal bins (lo, hi] of
-- |bin| / n * |accuracy - confidence|, the confidence being the largest of the video's class probabilities.
with predicted as (
    select
        run_id,
        video_id,
        frame,
        model,
        class
    from predictions
    where method = '' and rank = 1
),

counted as (
    select predictions.*
    from predictions
    left join predicted
        on
            predictions.run_id = predicted.run_id
            and predictions.video_id = predicted.video_id
            and predictions.frame = predicted.frame
            and predictions.model = predicted.model
    where predictions.method = '' or predictions.target = predicted.class
),

samples as (
    select
        run_id,
        video_id,
        model,
        method,
        count(distinct row(frame, layer)) as n_samples
    from counted
    group by run_id, video_id, model, method
),

probabilities as (
    select
        counted.run_id,
        counted.video_id,
        counted.model,
        counted.method,
        counted.class,
        sum(counted.probability) / any_value(samples.n_samples) as probability
    from counted
    inner join samples using (run_id, video_id, model, method)
    group by counted.run_id, counted.video_id, counted.model, counted.method, counted.class
),

video_predictions as (
    select
        probabilities.run_id,
        probabilities.video_id,
        probabilities.model,
        probabilities.method,
        probabilities.class,
        probabilities.probability as confidence
    from probabilities
    inner join classes using (run_id, model, class)
    qualify row_number() over (
        partition by probabilities.run_id, probabilities.video_id, probabilities.model, probabilities.method
        order by probabilities.probability desc, classes.position asc
    ) = 1
),

scored as (
    select
        video_predictions.model,
        video_predictions.method,
        videos.label,
        video_predictions.class,
        video_predictions.confidence,
        (videos.label = video_predictions.class)::int as is_right,
        -- a probability has the precision of a float32: what differs from an edge by rounding alone lies on the edge
        ceil(round(video_predictions.confidence * 15, 5)) as bin
    from video_predictions
    inner join videos using (run_id, video_id)
    semi join classes
        on
            video_predictions.run_id = classes.run_id
            and video_predictions.model = classes.model
            and videos.label = classes.class
),

bins as (
    select
        model,
        method,
        count(*) as bin_size,
        abs(avg(is_right) - avg(confidence)) as gap
    from scored
    group by model, method, bin
),

calibration as (
    select
        model,
        method,
        sum(bin_size * gap) / sum(bin_size) as ece
    from bins
    group by model, method
),

occurring as (
    select
        model,
        method,
        label as class
    from scored
    union
    select
        model,
        method,
        class
    from scored
),

by_class as (
    select
        occurring.model,
        occurring.method,
        occurring.class,
        avg(scored.is_right) filter (where scored.class = occurring.class) as precision,
        avg(scored.is_right) filter (where scored.label = occurring.class) as recall
    from occurring
    inner join scored using (model, method)
    group by occurring.model, occurring.method, occurring.class
),

second as (
    select
        model,
        any_value(class) filter (where position = 2) as class
    from classes
    group by model
    having count(distinct class) = 2 and count(distinct class) filter (where position = 2) = 1
),

performance as (
    select
        by_class.model,
        by_class.method,
        if(
            count(second.class) > 0,
            any_value(by_class.precision) filter (where by_class.class = second.class),
            avg(coalesce(by_class.precision, 0))
        ) as precision,
        if(
            count(second.class) > 0,
            any_value(by_class.recall) filter (where by_class.class = second.class),
            avg(coalesce(by_class.recall, 0))
        ) as recall
    from by_class
    left join second using (model)
    group by by_class.model, by_class.method
),

overall as (
    select
        model,
        method,
        count(*) as n,
        avg(is_right) as accuracy
    from scored
    group by model, method
),

final as (
    select
        overall.model,
        overall.method,
        overall.n,
        overall.accuracy,
        performance.precision,
        performance.recall,
        calibration.ece
    from overall
    inner join performance using (model, method)
    inner join calibration using (model, method)
    order by overall.model, overall.method
)

select * from final
