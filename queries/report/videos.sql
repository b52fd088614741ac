-- The videos that a gallery can show: those with maps, and by what they are sorted.
-- Grain: one row per (video, model) with a map.
-- said: the class with the largest mean probability over frames, sure: that mean. score: the mean probability of
-- fake, of a model that does not know it of the one class that the run explains, else sure; p_label: of the video's
-- own label; loss: -ln p_label in nats, at most 16. localisation: mean AUROC of the maps on the true mask, over
-- methods, chance .5; outside: mean share of the heat outside of the face.
with explained as (
    select distinct
        run_id,
        video_id,
        model
    from masks
    where error_code is null
),

asked as (
    select
        run_id,
        model,
        any_value(target) as class
    from masks
    group by run_id, model
    having count(distinct target) = 1
),

probabilities as (
    select
        run_id,
        video_id,
        model,
        class,
        avg(probability) as probability
    from predictions
    where method = ''
    group by run_id, video_id, model, class
),

verdicts as (
    select
        probabilities.run_id,
        probabilities.video_id,
        probabilities.model,
        arg_max(probabilities.class, probabilities.probability) as said,
        max(probabilities.probability) as sure,
        coalesce(
            any_value(probabilities.probability) filter (where probabilities.class = 'fake'),
            any_value(probabilities.probability) filter (where probabilities.class = asked.class),
            max(probabilities.probability)
        ) as score,
        any_value(probabilities.probability) filter (where probabilities.class = videos.label) as p_label
    from probabilities
    inner join videos using (run_id, video_id)
    left join asked
        on probabilities.run_id = asked.run_id and probabilities.model = asked.model
    group by probabilities.run_id, probabilities.video_id, probabilities.model
),

located as (
    select
        run_id,
        video_id,
        model,
        avg(auroc) as localisation
    from localisation_frames
    group by run_id, video_id, model
),

outer_heat as (
    select
        run_id,
        video_id,
        model,
        avg(heat) as outside
    from regions
    where region = 'outside'
    group by run_id, video_id, model
),

final as (
    select
        explained.run_id,
        explained.video_id,
        videos.uri,
        videos.dataset,
        videos.label,
        videos.split,
        explained.model,
        verdicts.said,
        verdicts.sure,
        verdicts.score,
        verdicts.p_label,
        located.localisation,
        outer_heat.outside,
        verdicts.said = videos.label as is_right,
        case
            when verdicts.p_label > exp(-16.0) then ln(1 / verdicts.p_label)
            when verdicts.p_label is not null then 16
        end as loss
    from explained
    inner join videos using (run_id, video_id)
    left join verdicts using (run_id, video_id, model)
    left join located using (run_id, video_id, model)
    left join outer_heat using (run_id, video_id, model)
    order by explained.video_id, explained.model
)

select * from final
