"""Which videos' inputs a lake has, for whom."""

from operators.kept import Kept
from pipelines.config import Config, of_run
from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.lake.read import committed_blocks
from pipelines.lake.runs import config_of
from pipelines.prepare import all_views
from schemas.tables import EXPLAIN, INPUTS


def keeps(layout: Layout, run_id: str) -> bool:
    """Whether a run keeps its inputs: it has begun to."""
    return layout.table(run_id, INPUTS.name).is_dir()


def kept_by(layout: Layout, run_id: str, config: Config) -> Kept:
    """What a run, of this config, kept."""
    blocks = {video: name for name, ids in committed_blocks(layout, EXPLAIN, run_id) for video in ids.to_pylist()}
    return Kept(layout.run(run_id), blocks, frozenset(map(str, all_views(config))))


def kept_for(layout: Layout, config: Config) -> tuple[Kept, ...]:
    """What runs of the lake kept that cut their videos as `config` does, and more views if not the same."""
    found = []
    for run_id in layout.run_ids():
        text = config_of(layout, run_id) if keeps(layout, run_id) else None
        try:
            other = None if text is None else of_run(text)
        except UserError:  # of another version, which may have cut otherwise
            continue
        if other is not None and _cuts_alike(other, config):
            found.append(kept_by(layout, run_id, other))
    return tuple(found)


def _cuts_alike(other: Config, config: Config) -> bool:
    """Whether frames are chosen and found usable alike, by the same boxes, and every view was cut."""
    parts = [{view.part for view in each.views} for each in (other, config)]
    same = (other.prepare, parts[0]) == (config.prepare, parts[1])
    return same and set(all_views(other)) >= set(config.views)
