-- Localisation: how much of an explanation lies where the frame was forged.
-- Grain: one row per (model, method, layer, target), over the forged frames of held-out clips: rows of
-- localisation_frames (frames whose crop holds forged pixels by the table truth; genuine videos have none) of videos
-- whose split is test. Without such a clip there is no row: a detector must not be judged on what it was trained on,
-- and videos without a split are not known to be held out.
-- n_maps counts maps, of which a video may have several; n_empty those of them that are empty: they have no score, the
-- means are over the others. Shares in [0, 1]: heat_inside is the share of the saliency in the forged region; rra
-- (relevance rank accuracy) the share of the n hottest pixels in it, n being its size; chance its share of the input,
-- what a map that knows nothing scores in both; ehr (effective heat ratio, InputIBA) the heat over its maximum in it
-- per pixel above a threshold, over thresholds: uniform saliency scores chance.
with final as (
    select
        localisation_frames.model,
        localisation_frames.method,
        localisation_frames.layer,
        localisation_frames.target,
        count(*) as n_maps,
        count(*) filter (where localisation_frames.heat_inside is null) as n_empty,
        avg(localisation_frames.heat_inside) as heat_inside,
        avg(localisation_frames.rra) as rra,
        avg(localisation_frames.chance) filter (where localisation_frames.heat_inside is not null) as chance,
        avg(localisation_frames.ehr) as ehr
    from localisation_frames
    inner join videos using (run_id, video_id)
    where videos.split = 'test'
    group by
        localisation_frames.model, localisation_frames.method, localisation_frames.layer, localisation_frames.target
    order by
        localisation_frames.model, localisation_frames.method, localisation_frames.layer, localisation_frames.target
)

select * from final
