"""What is visible of a lake, and what is not."""

import json
import shutil
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, queries, runs
from schemas.tables import ANNOTATIONS, CURVES, INPUTS, LAKE_TABLES, TCAV_TABLES
from tests.queries.conftest import write_lake

EVERY_TABLE = {table.name: [{}] for table in LAKE_TABLES[1:]}


def counts(connection):
    return {table.name: connection.sql(f"select count(*) from {table.name}").fetchall()[0][0] for table in LAKE_TABLES}


def ids(connection):
    return sorted(connection.sql("select run_id, video_id from videos").fetchall())


def at(day):
    return {"runs": [{"started_at": datetime(2026, 1, day, tzinfo=UTC)}]}


def test_a_run_without_videos_has_typed_empty_tables(views):
    with views() as lake:
        assert counts(lake) == {table.name: int(table.name == "runs") for table in LAKE_TABLES}
        for table in LAKE_TABLES:
            assert lake.sql(f"from {table.name}").columns == table.schema.names
        types = dict(lake.sql("select column_name, column_type from (describe masks)").fetchall())
        assert (types["frame"], types["saliency"], types["total_bits"]) == ("INTEGER", "FLOAT[]", "DOUBLE")


def test_tables_without_a_single_file_are_there_too(make_lake):
    lake = make_lake(at(1))
    for table in LAKE_TABLES[1:]:
        if table is INPUTS:  # of a run that keeps none it was never there
            continue
        (lake / "run_id=r1" / table.name / "a.parquet").unlink()
        (lake / "run_id=r1" / table.name).rmdir()
    with open_lake(lake) as connection:
        assert counts(connection) == {table.name: int(table.name == "runs") for table in LAKE_TABLES}


def test_saliency_comes_back_as_written(views):
    with views(masks=[{"saliency": [0.25, 3.5]}]) as lake:
        assert lake.sql("select saliency from masks").fetchall() == [([0.25, 3.5],)]


def test_texts_of_every_block_come_back_as_written(make_lake):
    """They are read as dictionaries, and every block has one of its own: other values, in another order."""
    written = []
    for block, names in {"a": ["iba", "", "rise"], "b": ["rise", "iba"], "c": ["centre"]}.items():
        rows = [{"video_id": f"{block}{n}", "method": name} for name in names for n in range(2)]
        written += [(row["video_id"], row["method"]) for row in rows]
        lake = make_lake({**(at(1) if block == "a" else {"runs": []}), "masks": rows}, name=block)
    with open_lake(lake) as connection:
        assert sorted(connection.sql("select video_id, method from masks").fetchall()) == sorted(written)
        found = connection.sql("select video_id from masks where method = 'rise' and video_id like 'b%'").fetchall()
        assert sorted(found) == [("b0",), ("b1",)]
        assert (
            dict(connection.sql("select column_name, column_type from (describe masks)").fetchall())["method"]
            == "VARCHAR"
        )


def test_the_tables_are_all_there_is(views):
    with views() as lake:
        assert {name for (name,) in lake.sql("show tables").fetchall()} == {
            *(table.name for table in (*LAKE_TABLES, *TCAV_TABLES, CURVES, ANNOTATIONS)),
            *queries("views"),
        }


def test_classes_are_those_of_each_runs_models(make_lake):
    models = [{"spec": {"name": "one", "classes": ["b", "a"]}}, {"spec": {"name": "other", "classes": ["c"]}}]
    make_lake({"runs": [{"config": json.dumps({"detectors": models})}]}, "r1")
    with open_lake(make_lake({"runs": [{}]}, "r2")) as lake:
        assert sorted(lake.sql("select run_id, model, position, class, n_classes from classes").fetchall()) == [
            ("r1", "one", 1, "b", 2),
            ("r1", "one", 2, "a", 2),
            ("r1", "other", 1, "c", 1),
            ("r2", "m", 1, "real", 2),
            ("r2", "m", 2, "fake", 2),
        ]


def learned(lake, training_id):
    row = {
        "training_id": training_id,
        "model": "m",
        "epoch": 0,
        "train_loss": 0.7,
        "val_loss": 0.6,
        "val_accuracy": 0.5,
    }
    Layout(lake).trainings.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([row], CURVES.schema), Layout(lake).trainings / f"{training_id}.parquet")


def test_learning_curves_belong_to_no_run(make_lake):
    lake = make_lake(at(1), "r1")
    with open_lake(lake) as connection:
        assert connection.sql("from curves").columns == CURVES.schema.names
        assert connection.sql("from curves").fetchall() == []
    learned(lake, "a")
    learned(lake, "b")
    for run_id in (None, "r1"):
        with open_lake(lake, run_id) as connection:
            assert connection.sql("select training_id, val_loss from curves order by all").fetchall() == [
                ("a", 0.6),
                ("b", 0.6),
            ]


def test_a_lake_may_hold_trainings_and_no_run(tmp_path):
    learned(tmp_path, "a")
    with open_lake(tmp_path) as connection:
        assert connection.sql("select model from curves").fetchall() == [("m",)]
        assert counts(connection) == {table.name: 0 for table in LAKE_TABLES}
    with pytest.raises(UserError, match="no run in"):
        open_lake(tmp_path, "r1")


def test_only_committed_videos_are_visible(make_lake):
    make_lake(EVERY_TABLE | at(1))
    lake = make_lake({name: [{"video_id": "w"}] for name in EVERY_TABLE if name != "closed"}, name="b", pending=True)
    with open_lake(lake) as connection:
        assert counts(connection) == dict.fromkeys(counts(connection), 1)
        assert ids(connection) == [("r1", "v")]


def test_a_file_that_is_being_written_does_no_harm(make_lake):
    lake = make_lake(EVERY_TABLE | at(1))
    make_lake({}, name="b", pending=True)
    for table in (each for each in LAKE_TABLES if each.chain is not None):
        (lake / "run_id=r1" / table.name / "b-000.parquet").write_bytes(b"PAR1 and no end")
    with open_lake(lake) as connection:
        assert counts(connection) == dict.fromkeys(counts(connection), 1)


def test_a_video_that_is_committed_twice_is_there_once(make_lake):
    make_lake(EVERY_TABLE | at(1))
    lake = make_lake({}, name="b")
    (lake / "_checkpoints/explain/run_id=r1/b.parquet").write_bytes(
        (lake / "_checkpoints/explain/run_id=r1/a.parquet").read_bytes()
    )
    with open_lake(lake) as connection:
        assert counts(connection) == dict.fromkeys(counts(connection), 1)


def test_without_checkpoints_no_video_is_visible(make_lake):
    lake = make_lake(EVERY_TABLE | at(1))
    shutil.rmtree(lake / "_checkpoints")
    with open_lake(lake) as connection:
        assert counts(connection) == {table.name: int(table.chain is None) for table in LAKE_TABLES}


def test_a_commit_counts_for_its_own_run(make_lake):
    make_lake({"videos": [{"video_id": "v"}]} | at(1), "r1")
    lake = make_lake({"videos": [{"video_id": "v"}]} | at(2), "r2", pending=True)
    with open_lake(lake) as connection:
        assert ids(connection) == [("r1", "v")]


def test_runs_are_in_order_of_their_start(make_lake):
    make_lake(at(2), "a")
    make_lake(at(3), "b")
    lake = make_lake(at(1), "c")
    assert runs(lake) == ["c", "a", "b"]


def test_one_run_alone(make_lake):
    make_lake({"videos": [{"video_id": "v"}]} | at(1), "r1")
    lake = make_lake({"videos": [{"video_id": "w"}]} | at(2), "r2")
    with open_lake(lake, "r1") as connection:
        assert ids(connection) == [("r1", "v")]
        assert connection.sql("select run_id from runs").fetchall() == [("r1",)]
    with open_lake(lake) as connection:
        assert ids(connection) == [("r1", "v"), ("r2", "w")]


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory):
    """A lake, and beside it `axb`, which a pattern would also match."""
    folder = tmp_path_factory.mktemp("neighbours")
    for name in ("lake", "axb"):
        write_lake(EVERY_TABLE | at(1), lake=folder / name)
    return folder


@pytest.mark.parametrize(
    "name", ["with space", "it's", 'a"b', "a*b", "a?b", "[ab]", "{a,b}", "run_id=x", "ü", "a%20b", "a#b"]
)
def test_any_folder_name_works(neighbours, name):
    lake = (neighbours / "lake").rename(neighbours / name)
    try:
        with open_lake(lake) as connection:
            assert set(counts(connection).values()) == {1}
    finally:
        lake.rename(neighbours / "lake")


def test_a_column_that_an_older_run_lacks_is_null(make_lake):
    lake = make_lake({"videos": [{}]} | at(1))
    path = lake / "run_id=r1/videos/a.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["codec"]), path)
    with open_lake(lake) as connection:
        assert connection.sql("select video_id, codec from videos").fetchall() == [("v", None)]


def test_no_lake(tmp_path):
    with pytest.raises(UserError, match=r"no lake at .*missing.* explain"):
        open_lake(tmp_path / "missing")


def test_no_run(tmp_path):
    with pytest.raises(UserError, match="no run in"):
        open_lake(tmp_path)


def test_no_such_run(make_lake):
    with pytest.raises(UserError, match=r"no run r9 in .*: it has r1"):
        open_lake(make_lake(at(1)), "r9")


@pytest.mark.parametrize(
    "statement",
    [
        "set enable_external_access = true",
        "set lock_configuration = false",
        "set allowed_directories = ['/']",
        "copy (select 1) to '{folder}/out.csv'",
        "copy (select 1) to '{folder}/lake/out.csv'",
        "attach '{folder}/other.db'",
        "export database '{folder}/out'",
        "install httpfs",
        "load '{folder}/x.duckdb_extension'",
        "select * from read_text('/etc/passwd')",
        "select * from glob('/*')",
        "select * from read_parquet('{folder}/lake/run_id=r1/runs/a.parquet')",
        "select * from 'https://example.com/a.parquet'",
    ],
)
def test_the_connection_reaches_nothing_else(make_lake, tmp_path, statement):
    with open_lake(make_lake(at(1))) as connection:
        before = sorted(tmp_path.rglob("*"))
        # not because there is no such file or no network
        refused = "disabled by configuration|disabled through configuration|Cannot change configuration option"
        with pytest.raises(duckdb.Error, match=refused):
            connection.execute(statement.format(folder=tmp_path))
        assert sorted(tmp_path.rglob("*")) == before


def test_python_variables_are_no_tables(make_lake):
    secret = pa.table({"a": [1]})  # noqa: F841
    with open_lake(make_lake(at(1))) as connection, pytest.raises(duckdb.CatalogException):
        connection.sql("select * from secret")
