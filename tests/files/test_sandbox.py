"""The sandbox: what goes wrong in the child comes back as a code, and nothing is left running."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from operators.video.sandbox import Limits, Sandbox
from schemas.errors import SampleError
from tests.files import in_child

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sandbox():
    """One for all: what goes wrong in its child must leave it fit for the next test, too."""
    sandbox = Sandbox(Limits(timeout_s=30, stall_s=10, memory_mb=2048))
    yield sandbox
    sandbox.close()


def alive(pid):
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def within_20_s(happened):
    end = time.monotonic() + 20
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)
    return happened()


def _fails(sandbox, code, function, *args):
    with pytest.raises(SampleError) as caught:
        sandbox.run(function, *args)
    assert caught.value.code == code
    assert sandbox.run(in_child.double, 4) == 8  # the next call gets a working child
    return caught.value.detail


def test_result_large_and_small(sandbox):
    assert sandbox.run(in_child.double, 21) == 42
    picture = np.arange(3_000_000, dtype=np.uint8).reshape(1000, 3000)
    assert np.array_equal(sandbox.run(np.copy, picture), picture)


def test_one_child_serves_until_its_calls_are_up():
    sandbox = Sandbox(Limits(calls_per_child=2))
    pids = [sandbox.run(in_child.child_pid) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert os.getpid() not in pids
    sandbox.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[3], 0)


def test_who_has_opened_nothing_keeps_its_child():
    """Thousands of files of storage that is away do not start a process for every few of them."""
    sandbox = Sandbox(Limits(calls_per_child=2))
    first = sandbox.run(in_child.child_pid)
    for _ in range(3):
        with pytest.raises(SampleError, match="not_found"):
            sandbox.run(in_child.nothing_there)
    assert sandbox.run(in_child.child_pid) == first
    assert sandbox.run(in_child.child_pid) != first
    sandbox.close()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library gives memory back as it likes")
def test_a_child_that_waits_holds_no_memory_of_its_last_video(sandbox):
    before = sandbox.run(in_child.resident_mb)
    assert sandbox.run(in_child.leave_a_cycle, 100) > before + 90
    assert sandbox.run(in_child.resident_mb) < before + 10


def test_no_progress_is_a_stall():
    sandbox = Sandbox(Limits(timeout_s=30, stall_s=1))
    assert "no progress" in _fails(sandbox, "decode_timeout", time.sleep, 8)
    sandbox.close()


def test_progress_without_end_is_a_timeout():
    sandbox = Sandbox(Limits(timeout_s=2, stall_s=1.5))
    assert "not done" in _fails(sandbox, "decode_timeout", in_child.work_for_ever)
    sandbox.close()


def test_slow_is_not_stalled():
    sandbox = Sandbox(Limits(timeout_s=30, stall_s=1))
    assert sandbox.run(in_child.slow_but_steady, 2) == "done"
    sandbox.close()


def test_memory_limit(sandbox):
    assert "2048 MB" in _fails(sandbox, "decode_memory", in_child.eat_memory)
    assert "bad_alloc" in _fails(sandbox, "decode_memory", in_child.abort_for_want_of_memory)


def test_crash_names_the_signal(sandbox):
    assert "SIGSEGV" in _fails(sandbox, "decode_crash", in_child.crash)


def test_child_killed_between_two_calls_is_replaced(sandbox):
    child = sandbox.run(in_child.child_pid)
    os.kill(child, signal.SIGKILL)
    assert within_20_s(lambda: not alive(child))
    assert sandbox.run(in_child.double, 1) == 2


def test_child_killed_while_it_starts_is_no_bug(sandbox, monkeypatch):
    """The kernel does not ask how far it is when memory runs out; a child that ends by itself is another matter."""
    sandbox.close()
    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "_start", lambda: (Sandbox._start(sandbox), sandbox._process.kill()))
        with pytest.raises(SampleError, match="decode_crash: SIGKILL"):
            sandbox.run(in_child.double, 1)
    assert sandbox.run(in_child.double, 1) == 2
    sandbox.close()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="did not start"):
        sandbox.run(in_child.double, 1)


def test_sample_error_arrives_as_it_is_and_keeps_the_child(sandbox):
    pid = sandbox.run(in_child.child_pid)
    assert _fails(sandbox, "no_frames", in_child.bad_sample) == "it has none"
    assert sandbox.run(in_child.child_pid) == pid


@pytest.mark.parametrize("function", [in_child.bug, in_child.unpicklable])
def test_a_bug_is_no_sample_error(sandbox, function):
    with pytest.raises(RuntimeError, match=rf"(?s)Traceback.*({function.__name__})"):
        sandbox.run(function)


def test_relative_paths_mean_the_same_in_the_child(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sandbox = Sandbox(Limits())
    assert sandbox.run(os.getcwd) == str(tmp_path)
    sandbox.close()


def test_limits_reach_the_child(sandbox):
    assert sandbox.run(in_child.rlimit_and_threads) == (2048 << 20, "1", "1")


def test_child_imports_neither_torch_nor_ray():
    from operators.prepare import PrepareParams, prepare_video

    sandbox = Sandbox(Limits())
    with pytest.raises(SampleError):
        sandbox.run(prepare_video, "/no/such/file", PrepareParams(), ())
    modules = sandbox.run(in_child.loaded_modules)
    sandbox.close()
    assert "operators.prepare" in modules
    assert not {"torch", "ray", "duckdb"} & set(modules)


@pytest.mark.parametrize("function", ["sleep_for_ever", "compute_for_ever"])
def test_child_ends_when_its_parent_is_killed(function, tmp_path):
    """The parent is killed with SIGKILL while the child computes."""
    began = tmp_path / "began"
    script = f"""
from operators.video.sandbox import Limits, Sandbox
from tests.files import in_child
sandbox = Sandbox(Limits())
print(sandbox.run(in_child.child_pid), flush=True)
sandbox.run(in_child.{function}, {str(began)!r})
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert within_20_s(began.exists)
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    if not within_20_s(lambda: not alive(child)):
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child outlives its parent")
