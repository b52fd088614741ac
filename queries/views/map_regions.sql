-- What the maps of a forged video say: how much more of their heat than of the picture lies in each region.
-- Grain: one row per (run, video, model, method, layer, target, region), of videos labelled fake.
-- excess: the mean over the video's maps with heat of the region's share of the heat less its share of the picture.
with final as (
    select
        regions.run_id,
        regions.video_id,
        regions.model,
        regions.method,
        regions.layer,
        regions.target,
        regions.region,
        avg(regions.heat - regions.area) as excess
    from regions
    inner join videos using (run_id, video_id)
    where videos.label = 'fake' and regions.heat is not null
    group by
        regions.run_id, regions.video_id, regions.model, regions.method, regions.layer, regions.target, regions.region
)

select * from final
