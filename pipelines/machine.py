"""What a process may really use of the machine it runs on."""

import math
import os
from pathlib import Path
from typing import Final

#: How often a thread that waits looks again before it sleeps, of the OpenMP that PyTorch brings (libgomp). Its own
#: default keeps waiting threads busy for seconds as soon as others want the processor. Read once, at the first import.
WAITING: Final = {"GOMP_SPINCOUNT": "1000"}


def processors(root: Path = Path("/")) -> int:
    """Processors this process has: those it is bound to, and no more than the quota of its container; at least 1."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(int(min(bound, _quota(root))), 1)


def _quota(root: Path) -> float:
    """Processors that the control groups of this process leave it; infinite without any."""
    groups = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return math.inf
    least = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / controllers if controllers else groups
        own = top / path.lstrip("/")
        # in a container the path may be the host's, and what is mounted is the container's own group
        for folder in (own, *own.parents):
            if folder.is_relative_to(top):
                least = min(least, _quota_of(folder))
    return least


def _quota_of(folder: Path) -> float:
    try:
        if (folder / "cpu.max").is_file():  # version 2
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    except OSError:
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)
