"""What a stage hands on."""

import pyarrow as pa

from operators import stage
from operators.stage import _joined

SCHEMA = pa.schema([("id", pa.int64()), ("rows", pa.list_(pa.struct([("a", pa.string()), ("b", pa.binary())])))])


def test_small_tables_become_one_chunk_and_large_ones_are_not_copied(monkeypatch):
    parts = [pa.Table.from_pylist([{"id": n, "rows": [{"a": str(n), "b": b"xy"}] * n}], SCHEMA) for n in range(5)]
    found = _joined(parts, SCHEMA)
    assert found.to_pylist() == [row for part in parts for row in part.to_pylist()]
    assert [column.num_chunks for column in found.columns] == [1, 1]
    monkeypatch.setattr(stage, "_JOINED_BYTES", 10)
    assert _joined(parts, SCHEMA) == found
    assert _joined(parts, SCHEMA)["id"].num_chunks > 1
    assert _joined([], SCHEMA) == SCHEMA.empty_table()
