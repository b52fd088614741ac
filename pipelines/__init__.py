"""What runs: the command line, the pipeline, and what is read from a lake."""

import os

from pipelines.machine import WAITING

# before anything imports torch; the processes this one starts, Ray's among them, inherit it
for _name, _value in WAITING.items():
    os.environ.setdefault(_name, _value)
