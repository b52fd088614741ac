"""How many processors a process has, in containers of both kinds, and how its threads wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.machine import WAITING, processors

BOUND = len(os.sched_getaffinity(0))


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, BOUND),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, BOUND),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        # a group below one that is bound tighter
        (
            {
                "proc/self/cgroup": "0::/slice/pod\n",
                "sys/fs/cgroup/slice/pod/cpu.max": "max 100000\n",
                "sys/fs/cgroup/slice/cpu.max": "150000 100000\n",
            },
            1,
        ),
        # the path of the host, of which the container sees its own group alone; version 1
        (
            {
                "proc/self/cgroup": "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            BOUND,
        ),
    ],
)
def test_a_container_has_what_its_quota_says(tmp_path, files, expected):
    assert processors(machine(tmp_path, files)) == expected


def test_a_process_has_the_processors_it_is_bound_to():
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from pipelines.machine import processors; print(processors())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("given", [None, "77"])
def test_threads_wait_as_set_before_torch_is_there_unless_somebody_else_has(given):
    environment = {key: value for key, value in os.environ.items() if key not in WAITING}
    environment |= {} if given is None else {"GOMP_SPINCOUNT": given}
    program = "import sys, os, pipelines; print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False", given or WAITING["GOMP_SPINCOUNT"]]
