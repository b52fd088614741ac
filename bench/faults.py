"""What a run survives: `python -m bench.faults OUT [SCENARIO ...] [--videos N] [--kills N] [--seed S]`.

Explains short forgeries of the portrait by a small network, once with nothing in its way and once for each scenario,
and compares the tables: the same keys, none missing and none twice, and the same values (floats to a hundredth, for
the same samples in another batch are the same but for rounding). What a scenario leaves in OUT is taken up by the next
call, so that a long one can be done in parts. Exit code 1 where one fails.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bench.processes import Command, is_raylet
from operators.forging.portrait import make_clips
from operators.storage import parquet
from operators.storage.remote import Remote
from pipelines.lake import blocks
from pipelines.lake.layout import REWRITTEN, Layout
from pipelines.lake.read import committed, open_lake
from schemas.tables import EXPLAIN, MASKS, SINK_TABLES, VIDEOS

_FLAGS: Final = ("--model", "test_resnet", "--layer", "layer3", "--max-keyframes", "2", "--preset", "fast")
_ONE_BY_ONE: Final = ("--set", "resources.videos_per_block=1")
_SECONDS: Final = {"prepare_s", "explain_s", "metrics_s", "seconds"}
#: longest time without a new video, and to an end that was asked for
_HANGS_S: Final = 300.0
_ENDS_S: Final = 90.0


def _is_worker(_: int, line: bytes) -> bool:
    others = (b"ray::IDLE", b"ray::RuntimeEnvAgent", b"ray::DashboardAgent")  # the raylet dies with its agents
    return line.startswith(b"ray::") and not line.startswith(others)


def _is_sandbox(_: int, line: bytes) -> bool:
    return b"operators.video.sandbox" in line


@dataclass(frozen=True)
class Bench:
    """Where it all lies, and the run that nothing disturbed."""

    out: Path
    n_videos: int
    n_kills: int
    rng: random.Random

    @cached_property
    def videos(self) -> Path:
        folder = self.out / "videos"
        if not folder.is_dir():
            make_clips(self.out / "making", n_real=self.n_videos // 2, n_fake=self.n_videos // 2, frames_per_clip=8)
            shutil.rmtree(self.out / "making" / "masks")
            (self.out / "making").rename(folder)
        return folder

    @cached_property
    def undisturbed(self) -> Path:
        lake, ended = self.out / "undisturbed", self.out / "undisturbed.ended"
        if not ended.exists():
            code, _, err = self.explain(lake).ended(_HANGS_S * 4)
            if code:
                raise SystemExit(f"undisturbed: {code} {err}")
            ended.touch()
        return lake

    def explain(self, lake: Path, *more: str, videos: Path | None = None, **options: Any) -> Command:
        return Command("explain", videos or self.videos, "--lake", lake, *_FLAGS, *_ONE_BY_ONE, *more, **options)

    def done(self, lake: Path) -> int:
        """Videos that are committed."""
        layout = Layout(lake)
        return sum(len(layout.committed(EXPLAIN, run_id)) for run_id in layout.run_ids())

    def same(self, lake: Path, but: Collection[str] = ()) -> str:
        """How the tables are those of the undisturbed run, `but` for some columns; SystemExit where they are not."""
        n, worst = 0, 0.0
        for table in SINK_TABLES:
            found, expected = _rows(lake, table.name), _rows(self.undisturbed, table.name)
            keys = [[tuple(row[name] for name in table.key) for row in rows] for rows in (found, expected)]
            if keys[0] != keys[1]:
                lost, more = set(keys[1]) - set(keys[0]), set(keys[0]) - set(keys[1])
                counts = f"{table.name}: {len(keys[0])} rows for {len(keys[1])}"
                raise SystemExit(f"{counts}; lost {sorted(lost)[:3]}, more {sorted(more)[:3]}")
            for a, b in zip(found, expected, strict=True):
                for name in a.keys() - _SECONDS - set(but):
                    worst = max(worst, _difference(a[name], b[name], f"{table.name}.{name} of {a['video_id']}"))
            n += len(found)
        return f"the same {n} rows, values within {worst:.1g}"


def _rows(lake: Path, table: str) -> list[dict[str, Any]]:
    key = ", ".join(f'"{name}"' for each in SINK_TABLES if each.name == table for name in each.key)
    with open_lake(lake) as connection:
        rows = connection.sql(f"select * from {table} order by {key}").to_arrow_table().to_pylist()
    for row in rows if table == MASKS.name else ():
        row["saliency"] = [value * row["scale"] for value in row["saliency"]]
        del row["scale"]
    return rows


def _difference(a: Any, b: Any, where: str) -> float:
    if isinstance(b, float) or (isinstance(b, list) and b and isinstance(b[0], float)):
        one, other = np.asarray(a, float), np.asarray(b, float)
        if np.allclose(one, other, rtol=1e-2, atol=1e-3, equal_nan=True):
            return float(np.max(np.abs(one - other), initial=0.0))
    elif a == b:
        return 0.0
    raise SystemExit(f"{where}: {str(a)[:200]} for {str(b)[:200]}")


def kills(bench: Bench) -> str:
    """kill -9 of the driver, of all Ray processes, of one worker, of the sandbox child and of the raylet, in turn."""
    lake, state = bench.out / "kills", bench.out / "kills.json"
    done = json.loads(state.read_text()) if state.is_file() else 0
    order = [kind for _ in range(bench.n_kills // 5 + 1) for kind in ("driver", "ray", "worker", "sandbox", "raylet")]
    random.Random(bench.n_kills).shuffle(order)
    run: Command | None = None
    try:
        for number in range(done, bench.n_kills):
            kind = order[number]
            if run is None:
                run = bench.explain(lake)
            run = _kill_once(bench, lake, run, kind, number)
            state.write_text(json.dumps(number + 1))
        return _to_the_end(bench, lake, run)
    finally:
        if run is not None:
            run.kill(lambda *_: True)


def _kill_once(bench: Bench, lake: Path, run: Command, kind: str, number: int) -> Command | None:
    """Wait for a moment, kill, and see how the command ends; None where it did."""
    driver = run.process.pid
    wanted: Callable[[int, bytes], bool] = {
        "driver": lambda pid, _: pid == driver,
        "ray": lambda pid, line: pid != driver and not _is_sandbox(pid, line),
        "worker": _is_worker,
        "sandbox": _is_sandbox,
        "raylet": is_raylet,
    }[kind]
    if bench.rng.random() < 0.25:  # whatever it does then; else between two videos
        until = bench.rng.uniform(0, 15)
        _wait(run, lambda: run.age_s() > until)
    else:
        before = bench.done(lake)
        _wait(run, lambda: bench.done(lake) > before)
        time.sleep(bench.rng.uniform(0, 2))
    _wait(run, lambda: bool(run.pids(wanted)))
    at, videos = run.age_s(), bench.done(lake)
    if kind in ("worker", "sandbox"):
        victim = bench.rng.choice(run.pids(wanted) or [0])
        line = Path(f"/proc/{victim}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:40] if victim else "gone"
        run.kill(lambda pid, _: pid == victim)
        print(f"{number + 1:3d} {kind:8s} {at:5.1f} s, {videos} videos: {line.strip()}", flush=True)
        return run
    run.kill(wanted)
    killed = time.monotonic()
    code, _, err = run.ended(_ENDS_S)
    took = time.monotonic() - killed
    lines = err.strip().splitlines()
    print(f"{number + 1:3d} {kind:8s} {at:5.1f} s, {videos} videos: ended with {code} after {took:.1f} s", flush=True)
    for line in lines[:3]:
        print(f"             {line[:180]}", flush=True)
    if kind != "driver" and (code != 1 or len(lines) != 1):
        raise SystemExit(f"{kind}: exit code {code} and {len(lines)} lines:\n{err}")
    deadline = time.monotonic() + _ENDS_S
    while left := run.pids(lambda *_: True):
        if time.monotonic() > deadline:
            raise SystemExit(f"{kind}: {len(left)} processes are left")
        time.sleep(0.2)
    return None


def _wait(run: Command, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _HANGS_S
    while not reached():
        if not run.goes_on():
            code, out, err = run.ended(_ENDS_S)
            raise SystemExit(f"it ended with {code} before it was killed; more --videos?\n{out[-2000:]}{err}")
        if time.monotonic() > deadline:
            raise SystemExit(f"HANG: nothing new for {_HANGS_S:g} s")
        time.sleep(0.05)


def _to_the_end(bench: Bench, lake: Path, run: Command | None = None) -> str:
    """What is left, and again what a killed sandbox left behind as rows with a code."""
    code, _, err = (run or bench.explain(lake)).ended(_HANGS_S * 4)
    if code:
        raise SystemExit(f"it ended with {code}: {err}")
    failed = [row for row in _rows(lake, VIDEOS.name) if row["status"] == "error"]
    if failed:
        code, _, err = bench.explain(lake, "--retry-errors").ended(_HANGS_S * 4)
        if code:
            raise SystemExit(f"--retry-errors ended with {code}: {err}")
    again = f"; {len(failed)} killed twice in one video, done by --retry-errors" if failed else ""
    return bench.same(lake) + again


def node(bench: Bench) -> str:
    """A node dies with all of its processes, another joins, and that one dies, too."""
    from ray.cluster_utils import Cluster

    lake = bench.out / "node"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    address = {"RAY_ADDRESS": cluster.address}
    try:
        other = cluster.add_node(num_cpus=3)
        run = bench.explain(lake, env=address)
        for _ in range(2):
            before = bench.done(lake)
            _wait(run, lambda before=before: bench.done(lake) > before)
            cluster.remove_node(other, allow_graceful=False)
            at, videos = run.age_s(), bench.done(lake)
            other = cluster.add_node(num_cpus=3)
            print(f"    a node died at {at:.1f} s, {videos} videos; another joined", flush=True)
        return _to_the_end(bench, lake, run)
    finally:
        cluster.shutdown()


def one_processor(bench: Bench) -> str:
    """A machine of one processor begins, is killed and goes on: the filter of what is finished finds room beside it."""
    lake = bench.out / "one_processor"
    one = ("taskset", "-c", "0")
    run = bench.explain(lake, within=one)
    _wait(run, lambda: bench.done(lake) > 0)
    run.kill(lambda *_: True)
    return _to_the_end(bench, lake, bench.explain(lake, within=one))


@contextlib.contextmanager
def _mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own at `folder`, as large as `size` says."""
    if os.geteuid():
        raise SystemExit("this one mounts a file system, which is for root")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def _refused(name: str, command: Command, says: str) -> None:
    """SystemExit unless it ended with 1 and one line that `says` why."""
    code, _, err = command.ended(_HANGS_S)
    lines = err.strip().splitlines()
    print(f"    {name}: {code}, {lines[0][:160] if lines else ''}", flush=True)
    if code != 1 or len(lines) != 1 or not lines[0].startswith("viba: ") or says not in lines[0]:
        raise SystemExit(f"{name}: exit code {code}:\n{err}")


def disk(bench: Bench) -> str:
    """The lake's file system is full in mid-job, and then has room again."""
    lake = bench.out / "disk" / "lake"
    with _mounted(lake.parent, "2m"):
        _refused("explain", bench.explain(lake), "No space left on device")
        n = bench.done(lake)
        _remount(lake.parent, "size=1g")
        return f"{n} videos were finished; {_to_the_end(bench, lake)}"


def read_only(bench: Bench) -> str:
    """The lake's file system is read-only for a run that goes on; commands that write say so, those that read go on."""
    lake = bench.out / "read_only" / "lake"
    with _mounted(lake.parent, "1g"):
        run = bench.explain(lake)
        _wait(run, lambda: bench.done(lake) > 2)
        run.kill(lambda *_: True)
        run.ended(_ENDS_S)
        _remount(lake.parent, "ro")  # refused while somebody writes
        video = _rows(lake, VIDEOS.name)[0]["video_id"]
        at = ("--lake", lake)
        for name, arguments in {
            "explain": ("explain", bench.videos, *at, *_FLAGS, *_ONE_BY_ONE),
            "evaluate": ("evaluate", *at),
            "judge": ("judge", *at, "--max-frames", "1"),
            "render": ("render", *at, video),
            "report": ("report", *at),
            "verify --repair": ("verify", *at, "--repair"),
        }.items():
            _refused(name, Command(*arguments), "")
        for arguments in (("sql", *at, "select count(*) from videos"), ("verify", *at)):
            if (ended := Command(*arguments).ended(_HANGS_S))[0]:
                raise SystemExit(f"{arguments}: {ended}")
        _remount(lake.parent, "rw")
        return _to_the_end(bench, lake)


def store(bench: Bench) -> str:
    """The object store, and /dev/shm, are smaller than what goes through them: 197 kB a keyframe, 7 of a video."""
    small = {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(80 << 20)}
    flags = ("--model", "resnet26t", "--method", "gradcam", "--max-keyframes", "7")
    flags = (*flags, "--set", 'prepare.keyframes.selection="uniform"')
    said = []
    for name, env, within in (
        ("store", small, ()),
        ("shm", {}, ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=32m tmpfs /dev/shm && exec "$@"', "sh")),
    ):
        lake = bench.out / name
        shutil.rmtree(lake, ignore_errors=True)
        block = ("--set", f"resources.videos_per_block={bench.n_videos}")
        run = Command("explain", bench.videos, "--lake", lake, *flags, *block, env=env, within=within)
        code, _, err = run.ended(_HANGS_S * 2)
        if code or err:
            raise SystemExit(f"{name}: {code} {err}")
        rows = _rows(lake, VIDEOS.name)
        if [row["status"] for row in rows] != ["ok"] * len(_rows(bench.undisturbed, VIDEOS.name)):
            raise SystemExit(f"{name}: {rows}")
        n_maps = len(_rows(lake, MASKS.name))
        if n_maps < 7 * len(rows):
            raise SystemExit(f"{name}: {n_maps} maps of {len(rows)} videos are too few to fill it")
        said.append(f"{name}: {len(rows)} videos, {n_maps} maps")
    return ", ".join(said)


def signals(bench: Bench) -> str:
    """SIGTERM to the command, and Ctrl-C to its group: one line, the code of the signal, nothing left behind."""
    lake = bench.out / "signals"
    for sent, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        run, before = bench.explain(lake), bench.done(lake)
        _wait(run, lambda before=before: bench.done(lake) > before)
        time.sleep(bench.rng.uniform(0, 2))
        if sent == signal.SIGINT:
            os.killpg(run.process.pid, sent)
        else:
            run.process.send_signal(sent)
        sent_at = time.monotonic()
        found, _, err = run.ended(_ENDS_S)
        print(f"    {sent.name}: {found} after {time.monotonic() - sent_at:.1f} s, {err.strip()[:160]}", flush=True)
        if found != code or len(err.strip().splitlines()) != 1:
            raise SystemExit(f"{sent.name}: exit code {found}:\n{err}")
        deadline = time.monotonic() + _ENDS_S
        while run.pids(lambda *_: True):
            if time.monotonic() > deadline:
                raise SystemExit(f"{sent.name}: processes are left")
            time.sleep(0.2)
    return f"{bench.done(lake)} videos were finished; {_to_the_end(bench, lake)}"


def files(bench: Bench) -> str:
    """Files cut short, overwritten, deleted: all are named and taken back, and only their videos done again."""
    lake = bench.out / "files"
    shutil.rmtree(lake, ignore_errors=True)
    shutil.copytree(bench.undisturbed, lake)
    layout = Layout(lake)
    (run_id,) = layout.run_ids()
    for large in layout.checkpoints(EXPLAIN, run_id).glob(f"{REWRITTEN}*"):  # the small blocks come back
        for path in (large, *(layout.table(run_id, table.name) / large.name for table in SINK_TABLES)):
            path.unlink()
    chosen = bench.rng.sample(blocks.committed(layout, EXPLAIN, run_id)[0], 4)
    tables = [layout.table(run_id, bench.rng.choice(SINK_TABLES).name) / path.name for path in chosen[:3]]
    hurt = [*tables, chosen[3]]
    for path, how in zip(hurt, ("short", "garbage", "gone", "short"), strict=True):
        content = path.read_bytes()
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes(content[: len(content) // 2] if how == "short" else bench.rng.randbytes(len(content)))
    total = len(_rows(bench.undisturbed, VIDEOS.name))
    code, out, err = Command("verify", "--lake", lake).ended(_HANGS_S)
    said = out.replace("\n", "")
    if code != 1 or err or any(str(path) not in said for path in hurt):
        raise SystemExit(f"verify: {code} {out}{err}")
    if (ended := Command("verify", "--lake", lake, "--repair").ended(_HANGS_S))[0]:
        raise SystemExit(f"verify --repair: {ended}")
    left = len(committed(layout, EXPLAIN, [run_id]))
    if left != total - len(hurt):
        raise SystemExit(f"--repair left {left} of {total}")
    found = _to_the_end(bench, lake)
    if (ended := Command("verify", "--lake", lake).ended(_HANGS_S))[0]:
        raise SystemExit(f"verify: {ended}")
    return f"{total - left} of {total} videos done again; {found}"


def inputs(bench: Bench) -> str:
    """What is no file, has no end, or is still being written: a row each; a file that is whole replaces its part."""
    folder, lake = bench.out / "odd", bench.out / "inputs"
    for path in (folder, lake):
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir(parents=True)
    clip = min(bench.videos.rglob("*.mp4"))
    whole = clip.read_bytes()
    os.mkfifo(folder / "fifo.mp4")
    os.mkfifo(folder / "behind")
    (folder / "link_to_fifo.mp4").symlink_to("behind")
    with contextlib.closing(_socket(folder / "socket.mp4")):
        if not os.geteuid():
            os.mknod(folder / "zero.mp4", 0o600 | 0o020000, os.makedev(1, 5))
        (folder / "endless.mp4").symlink_to("/dev/zero")
        (folder / "loop.mp4").symlink_to("loop.mp4")
        (folder / "gone.mp4").symlink_to("nowhere")
        (folder / "folder.mp4").mkdir()
        (folder / "around").symlink_to(folder)
        (folder / "hostile $(touch PWNED); rm -rf 'x' \n\x1b[31m.mp4").write_bytes(whole)
        (folder / "written.mp4").write_bytes(whole[: len(whole) // 2])
        (folder / "changed.mp4").write_bytes(whole)
        if (ended := bench.explain(lake, videos=folder).ended(_HANGS_S))[0]:
            raise SystemExit(f"inputs: {ended}")
        before = {Path(row["uri"]).name: row for row in _rows(lake, VIDEOS.name)}
        (folder / "written.mp4").write_bytes(whole)
        (folder / "changed.mp4").write_bytes(max(bench.videos.rglob("*.mp4")).read_bytes())
        if (ended := bench.explain(lake, videos=folder).ended(_HANGS_S))[0]:
            raise SystemExit(f"inputs again: {ended}")
        rows = _rows(lake, VIDEOS.name)
    after = {Path(row["uri"]).name: row for row in rows}
    for name, row in sorted(after.items()):
        print(f"    {name[:30]!r}: {before[name]['error_code'] or 'ok'}, then {row['error_code'] or 'ok'}", flush=True)
    if len(rows) != len(after) or set(before) != set(after) or Path("PWNED").exists():
        raise SystemExit(f"inputs: {sorted(row['uri'] for row in rows)}")
    if after["written.mp4"]["status"] != "ok" or after["changed.mp4"]["video_id"] == before["changed.mp4"]["video_id"]:
        raise SystemExit(f"inputs: {after['written.mp4']} {after['changed.mp4']}")
    return f"{len(rows)} rows for {len(after)} names"


def _socket(path: Path) -> Any:
    import socket

    here = socket.socket(socket.AF_UNIX)
    here.bind(os.path.relpath(path))
    return here


def manifest(bench: Bench) -> str:
    """A manifest of 10,000 rows that lead nowhere, with hostile names, and two good ones."""
    lake, path = bench.out / "manifest_lake", bench.out / "manifest.csv"
    shutil.rmtree(lake, ignore_errors=True)
    good = sorted(bench.videos.rglob("*.mp4"))[:2]
    hostile = (
        "'; drop table videos; --",
        "$(touch PWNED)",
        "../../../etc/passwd\x00",
        "=cmd|' /C calc'!A0",
        "a\u202eb",
    )
    uris = [f"nowhere/{hostile[number % len(hostile)].replace(chr(0), '')}{number}" for number in range(10_000)]
    lines = ["uri,label", *(f'"{uri}",fake' for uri in uris), *(f"{each},real" for each in good)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    flags = ("--model", "test_resnet", "--method", "gradcam", "--set", "resources.videos_per_block=200")
    run = Command("explain", path, "--lake", lake, *flags)
    code, out, err = run.ended(_HANGS_S * 2)
    if code or err:
        raise SystemExit(f"manifest: {code} {err}")
    counts: dict[str, int] = {}
    for row in _rows(lake, VIDEOS.name):
        counts[row["error_code"] or "ok"] = counts.get(row["error_code"] or "ok", 0) + 1
    if counts != {"not_found": 10_000, "ok": 2} or Path("PWNED").exists():
        raise SystemExit(f"manifest: {counts}\n{out[-3000:]}")
    return f"{counts} in {run.age_s():.0f} s"


def s3(bench: Bench) -> str:
    """Videos, manifest and lake on a store that fails one request in ten: killed, continued, and then every command."""
    from bench.s3 import Server

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    server = Server()
    os.environ.update(server.environment)
    there = Remote(server.new_bucket())
    rows = [{name: row[name] for name in ("video_id", "uri", "label")} for row in _rows(bench.undisturbed, VIDEOS.name)]
    for row in rows:
        name = f"videos/{row['video_id']}.mp4"
        (there / name).write_bytes(Path(row["uri"]).read_bytes())
        row["uri"] = name
    parquet.write_table(pa.Table.from_pylist(rows), there / "m.parquet")
    server.calm()
    server.fail_every = 10
    lake = there / "lake"
    run = bench.explain(lake, videos=there / "m.parquet")
    _wait(run, lambda: bench.done(lake) > 0)
    run.kill(lambda *_: True)
    run.ended(_ENDS_S)  # its claim is another's as soon as its process is no more
    code, said, err = bench.explain(lake, videos=there / "m.parquet").ended(_HANGS_S * 4)
    if code:
        raise SystemExit(f"it ended with {code}: {err}")
    same = bench.same(lake, but={"uri", "dataset"})
    said += err
    at = ("--lake", lake)
    for arguments in (
        ("sql", *at, "select count(*) as n from videos", "--format", "csv"),
        ("judge", *at, "--max-frames", "2", "--set", "judge.steps=4"),
        ("evaluate", *at),
        ("verify", *at),
        ("report", *at),
        ("render", *at, rows[0]["video_id"]),
    ):
        command = Command(*arguments)
        code, out, err = command.ended(_HANGS_S * 2)
        print(f"    {arguments[0]}: {code} after {command.age_s():.0f} s", flush=True)
        if code or err:
            raise SystemExit(f"{arguments[0]} ended with {code}: {out[-1000:]}{err}")
        said += out
    layout = Layout(lake)
    drawn = [path.suffix for path in layout.renders.iterdir()]
    if not layout.report.is_file() or sorted(drawn) != [".mp4", ".png"]:
        raise SystemExit(f"no page, or {drawn}")
    secret = server.environment["AWS_SECRET_ACCESS_KEY"].encode()
    written = [path for path, info in there.listed(recursive=True) if info.is_file]
    if secret in said.encode() or any(secret in path.read_bytes() for path in written):
        raise SystemExit("a secret was written")
    if half := [path for path in written if path.suffix in (".part", ".tmp")]:
        raise SystemExit(f"left behind: {half}")
    return f"{server.failed} of {len(server.requests)} requests failed; {same}"


_ALL: Final = (kills, node, one_processor, disk, read_only, store, signals, files, inputs, manifest, s3)
SCENARIOS: Final[dict[str, Callable[[Bench], str]]] = {each.__name__: each for each in _ALL}


def main() -> None:
    """One line per scenario, below what it saw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], default=list(SCENARIOS))
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with what it has started
    print(f"seed {options.seed}", flush=True)
    bench = Bench(options.out.resolve(), options.videos, options.kills, random.Random(options.seed))
    bench.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in options.scenario:
        started = time.monotonic()
        try:
            said = SCENARIOS[name](bench)
        except SystemExit as error:
            said, failed = f"FAILED: {error}", failed + 1
        print(f"{name}: {said} ({time.monotonic() - started:.0f} s)", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
