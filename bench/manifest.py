"""What a manifest costs: files that were never seen, the same ones once they are known, and rows that have ids.

    python -m bench.manifest --files 1000000

Files are small and on this disk: what reading them costs elsewhere is that storage's own.
"""

import argparse
import os
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from pipelines.identities import Identities
from pipelines.manifest import build, write_table

#: names of one file: file systems have a limit
_LINKS = 30_000


def main() -> None:
    """Prints seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where files are made (default: the system's temporary folder)")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder) / "videos"
        _make(root, options.files)
        time.sleep(3)  # a file that was changed just now is not kept
        identities = Identities(Path(folder) / "kept", Console(quiet=True))
        for what in ("never seen", "known"):
            start = time.perf_counter()
            table = build([root], identities=identities).table
            print(f"{what}: {time.perf_counter() - start:.1f} s for {len(table):,} files of a folder", flush=True)
        manifest = Path(folder) / "manifest.parquet"
        for what, columns in (("known", ["uri"]), ("with ids", ["uri", "video_id"])):
            write_table(table.select(columns), manifest)
            start = time.perf_counter()
            assert build([manifest], identities=identities).table["video_id"].equals(table["video_id"])
            print(f"{what}: {time.perf_counter() - start:.1f} s for {len(table):,} rows of a manifest", flush=True)
        print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


def _make(root: Path, n: int) -> None:
    source = root / "first.mp4"
    for number in range(n):
        below = root / str(number // 1000)
        if number % 1000 == 0:
            below.mkdir(parents=True)
        if number % _LINKS == 0:
            source = below / f"{number}.mp4"
            source.write_bytes(os.urandom(4096))
        else:
            os.link(source, below / f"{number}.mp4")


if __name__ == "__main__":
    main()
