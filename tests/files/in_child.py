"""What tests have a sandbox run. A child imports the file of what it runs, so this one imports little."""

import ctypes
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path

from operators.video.sandbox import progress
from schemas.errors import SampleError


def double(x):
    print("this must not reach the channel")
    return 2 * x


def child_pid():
    return os.getpid()


def loaded_modules():
    return sorted(sys.modules)


def sleep_for_ever(began):
    Path(began).touch()
    while True:
        time.sleep(1)


def work_for_ever():
    while True:
        progress()
        time.sleep(0.01)


def compute_for_ever(began):
    Path(began).touch()
    while True:
        pass


def slow_but_steady(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress()
        time.sleep(0.01)
    return "done"


def eat_memory():
    import numpy as np

    return [np.zeros(1 << 24) for _ in range(1000)]  # of address space, which is what is limited


def abort_for_want_of_memory():
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def crash():
    ctypes.string_at(0)


def nothing_there():
    raise SampleError("not_found", "gone")


def bad_sample():
    raise SampleError("no_frames", "it has none")


def bug():
    return {}["missing"]


def unpicklable():
    return lambda: None


def rlimit_and_threads():
    return resource.getrlimit(resource.RLIMIT_AS)[0], os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]


def killed_once(uri, _params, _views, truth_uri, _keep_bytes):
    """As `prepare_video` whose child the kernel chose when memory ran out: not the file's fault."""
    if not Path(uri).exists():
        Path(uri).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if truth_uri:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"status": "no_face", "n_frames": 7}


def peak_memory_mb(function, *args):
    """The most memory that this child ever held, once it has called the function."""
    function(*args)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def resident_mb():
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024


def leave_a_cycle(mb):
    """As a frame does that was asked for its side data: what it holds is freed when gc runs. In blocks that glibc does
    not map one by one, with one above them that stays."""
    held: list[object] = [b"." * (100 << 10) for _ in range(10 * mb)]
    held.append(held)
    _stay.append(b"." * (100 << 10))
    return resident_mb()


_stay: list[bytes] = []
