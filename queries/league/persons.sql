-- What is compared in the league, per person: the mean over their videos.
-- Grain: one row per (model, layer, method, metric, person). The views league_values and persons are made by
-- pipelines/league.py.
with final as (
    select
        league_values.model,
        league_values.layer,
        league_values.method,
        league_values.metric,
        persons.person,
        avg(league_values.value) as value
    from league_values
    inner join persons using (video_id)
    group by
        league_values.model, league_values.layer, league_values.method, league_values.metric, persons.person
    order by
        league_values.model, league_values.layer, league_values.method, league_values.metric, persons.person
)

select * from final
