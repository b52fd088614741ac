"""What is no bug of ours is one line; what is one keeps its traceback."""

import errno
import os
import re
from pathlib import Path

import pytest
import ray

from pipelines.errors import told

WORKER = """\x1b[36mray::MapWorker(MapBatches(explain)).submit()\x1b[39m (pid=1, ip=127.0.0.1)
  File "operators/explain.py", line 78, in run_table
    parts.append(conform(fn(todo), stage.schema))
                         ^^^^^^^^^
ValueError: a fault
of ours

The above exception was the direct cause of the following exception:

ray.exceptions.UserCodeException: UDF failed to process a data block.
"""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_disk_says_no_to(code):
    assert (told(OSError(code, os.strerror(code), "lake/file")) or "").startswith(f"{os.strerror(code)}: lake/file; ")


def test_a_workers_error_is_what_it_raised_and_where_the_rest_is():
    said = told(ray.exceptions.RayError(WORKER))
    assert said is not None
    assert said.startswith("ValueError: a fault of ours; what is finished is kept")
    assert "\n" not in said
    log = re.search(r"\S+\.log$", said)
    assert log is not None
    assert Path(log[0]).read_text() == WORKER
    Path(log[0]).unlink()


def test_a_cluster_that_is_gone_says_so_itself():
    assert (told(ray.exceptions.RayError("The node was\nlost.")) or "").startswith("The node was lost.; what is")


@pytest.mark.parametrize("error", [ValueError("a bug"), FileNotFoundError(errno.ENOENT, "No such file", "x")])
def test_a_bug_is_none_of_these(error):
    assert told(error) is None
