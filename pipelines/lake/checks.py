"""What must hold in every lake: queries that return no row where it does."""

from pipelines.lake.read import queries
from schemas.tables import LAKE_TABLES, Table


def checks() -> dict[str, str]:
    """Name -> SQL: keys and parents of every table, as its definition has them, and queries/checks."""
    return {"keys": _keys(), "parents": _parents()} | queries("checks")


def _keys() -> str:
    """One row per (table, key) that occurs more than once.

    Keys are texts, and ten million of them would fill the memory: only those are looked at whose hash is there twice.
    """
    parts = []
    for table in LAKE_TABLES:
        key = ", ".join(table.key)
        twice = f"select hash({key}) from {table.name} group by all having count(*) > 1"
        parts.append(
            f"select '{table.name} key occurs more than once' as problem, {_ids(table)}, count(*) as n_rows "
            f"from {table.name} where hash({key}) in ({twice}) group by {key} having count(*) > 1"
        )
    return " union all ".join(parts) + " order by all"


def _parents() -> str:
    """One row per row without one it belongs to, by hashes of 64 bits."""
    parts = []
    for table in LAKE_TABLES:
        for parent in table.parents:
            # a row that stands for several of its parent's, as metrics do for masks, lacks part of the parent's key
            shared = [name for name in parent.key if name in table.schema.names]
            own, others = (", ".join(f"{each.name}.{name}" for name in shared) for each in (table, parent))
            parts.append(
                f"select '{table.name} row without its {parent.name}' as problem, {_ids(table)} "
                f"from {table.name} anti join {parent.name} on hash({own}) = hash({others})"
            )
    return " union all ".join(parts) + " order by all"


def _ids(table: Table) -> str:
    """run_id, video_id and the rest of the key as one text."""
    rest = [f"{table.name}.{name}" for name in table.key if name not in ("run_id", "video_id")]
    video_id = f"{table.name}.video_id" if "video_id" in table.schema.names else "null"
    key = f"concat_ws(' ', {', '.join(rest)})" if rest else "null"
    return f"{table.name}.run_id as run_id, {video_id} as video_id, {key} as key"
