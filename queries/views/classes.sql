-- The classes of every run's models, by the config in `runs`.
-- Grain: one row per (run, model, class); position counts the model's outputs from 1, n_classes is how many it has.
with models as (
    select
        run_id,
        unnest(from_json(
            json_extract(config, '$.detectors'), '[{"spec": {"name": "VARCHAR", "classes": ["VARCHAR"]}}]'
        )) as detector
    from runs
),

final as (
    select
        models.run_id,
        models.detector.spec.name as model,
        unnest(models.detector.spec.classes) as class,
        generate_subscripts(models.detector.spec.classes, 1) as position,
        len(models.detector.spec.classes) as n_classes
    from models
)

select * from final
