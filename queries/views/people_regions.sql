-- What people say of a video: the regions that look manipulated to most of them.
-- Grain: one row per video of which anybody named a region when they first saw it.
-- regions: the (at most) three that most annotators named, in order of their votes; of equal ones a fixed draw decides.
with first_answers as (
    select
        video_id,
        unnest(regions) as region
    from annotations
    where showing = 1
),

votes as (
    select
        video_id,
        region,
        count(*) as n_votes
    from first_answers
    group by video_id, region
),

ranked as (
    select
        video_id,
        region,
        row_number() over (partition by video_id order by n_votes desc, md5(video_id || region) asc) as place
    from votes
),

final as (
    select
        video_id,
        list(region order by place asc) as regions
    from ranked
    where place <= 3
    group by video_id
)

select * from final
