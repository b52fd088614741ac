-- Localisation: how much of an explanation lies where the frame was forged.
-- Grain: one row per (model, method, layer, target, rightly), over the forged frames of held-out clips: rows of
-- localisation_frames (frames whose crop holds forged pixels by the table truth; genuine videos have none) of videos
-- whose split is test. Without such a clip there is no row: a detector must not be judged on what it was trained on,
-- and videos without a split are not known to be held out.
-- n_maps counts maps, of which a video may have several; n_empty those of them that are empty: they have no score, the
-- means are over the others. Shares in [0, 1]: heat_inside is the share of the saliency in the forged region; rra
-- (relevance rank accuracy) the share of the n hottest pixels in it, n being its size; chance its share of the input,
-- what a map that knows nothing scores in both; ehr (effective heat ratio, InputIBA) the heat over its maximum in it
-- per pixel above a threshold, over thresholds: uniform saliency scores chance. auroc is the probability that a forged
-- pixel is hotter than another one: chance is .5, whatever the size. *_adjusted is (v - chance) / (1 - chance),
-- 0 by chance and 1 at best; of pointing (the maximum is in the region or within 15 pixels) against the share of the
-- pixels that count as hits. rightly: whether the model says of the frame what its video is labelled.
with final as (
    select
        localisation_frames.model,
        localisation_frames.method,
        localisation_frames.layer,
        localisation_frames.target,
        predictions.class = videos.label as rightly,
        count(*) as n_maps,
        count(*) filter (where localisation_frames.heat_inside is null) as n_empty,
        avg(localisation_frames.heat_inside) as heat_inside,
        avg(localisation_frames.rra) as rra,
        avg(localisation_frames.chance) filter (where localisation_frames.heat_inside is not null) as chance,
        avg(localisation_frames.ehr) as ehr,
        avg(localisation_frames.auroc) as auroc,
        avg((localisation_frames.heat_inside - localisation_frames.chance) / nullif(1 - localisation_frames.chance, 0))
            as heat_inside_adjusted,
        avg((localisation_frames.rra - localisation_frames.chance) / nullif(1 - localisation_frames.chance, 0))
            as rra_adjusted,
        avg(localisation_frames.pointing::double) as pointing,
        avg(localisation_frames.pointing_chance) filter (where localisation_frames.pointing is not null)
            as pointing_chance,
        avg(
            (localisation_frames.pointing::double - localisation_frames.pointing_chance)
            / nullif(1 - localisation_frames.pointing_chance, 0)
        ) as pointing_adjusted
    from localisation_frames
    inner join videos using (run_id, video_id)
    left join predictions
        on
            localisation_frames.run_id = predictions.run_id
            and localisation_frames.video_id = predictions.video_id
            and localisation_frames.first_frame = predictions.frame
            and localisation_frames.model = predictions.model
            and predictions.method = ''
            and predictions.rank = 1
    where videos.split = 'test'
    group by
        localisation_frames.model,
        localisation_frames.method,
        localisation_frames.layer,
        localisation_frames.target,
        rightly
    order by
        localisation_frames.model,
        localisation_frames.method,
        localisation_frames.layer,
        localisation_frames.target,
        rightly
)

select * from final
