"""How large the page of a run is and how soon a browser shows it: python -m bench.page --lake LAKE [--run ID]."""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from pipelines.report.gallery import MEDIA
from pipelines.report.write import report

#: starts of the page, of which the median counts
_STARTS = 5
#: from a click on the first video until its heat is drawn, in milliseconds
_OPEN = """
const done = arguments[0], open = document.querySelector(".opens"), from = performance.now();
const look = () => document.getElementById("where").textContent ? done(performance.now() - from) : setTimeout(look, 5);
if (open) { open.click(); look(); } else done(0);
"""


def main() -> None:
    """One line for each form of the page, in megabytes (10^6 bytes) and seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--run", dest="run_id")
    options = parser.parse_args()
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        sys.exit("bench.page needs Debian's chromium and chromium-driver")
    print(f"{'media':8} {'split':5} {'written_s':>9} {'page_mb':>8} {'beside_mb':>9} {'loaded_s':>8} {'opened_s':>8}")
    for media in MEDIA:
        for split in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                out, started = Path(folder) / "page.html", time.perf_counter()
                report(options.lake, options.run_id, out, media=media, split=split, console=Console(quiet=True))
                wrote = time.perf_counter() - started
                beside = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file() and file != out)
                loaded, opened = _timed(out, chromium, driver)
                sizes = f"{out.stat().st_size / 1e6:8.2f} {beside / 1e6:9.2f}"
                print(f"{media:8} {split!s:5} {wrote:9.1f} {sizes} {loaded:8.2f} {opened:8.2f}")


def _timed(page: Path, chromium: str, driver: str) -> tuple[float, float]:
    """Seconds until the page's DOM is there, and until its first video is open with its heat."""
    from selenium import webdriver  # a page is written without it

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    loaded, opened = [], []
    try:
        for _ in range(_STARTS):
            chrome.get("about:blank")
            chrome.get(page.as_uri())
            script = "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
            loaded.append(chrome.execute_script(script) / 1000)
            opened.append(chrome.execute_async_script(_OPEN) / 1000)
    finally:
        chrome.quit()
    return statistics.median(loaded), statistics.median(opened)


if __name__ == "__main__":
    main()
