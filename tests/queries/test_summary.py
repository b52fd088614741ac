"""The end of a run, read by somebody who sees it for the first time."""

import io

from rich.console import Console

from pipelines.called import called
from pipelines.summary import show
from schemas.tables import TRIED

OK = {"prepare_s": 0.25, "explain_s": 2.0, "metrics_s": 0.0}
PATH = "/data/[/bold] \x1b[2J/" + "deep/" * 12 + "broken.mp4"


def shown(lake):
    out = io.StringIO()
    show(lake, "r1", Console(file=out, width=80, force_terminal=True, color_system=None))
    return out.getvalue().splitlines()


def test_what_happened_and_what_to_do_next_in_80_columns(make_lake):
    broken = {"status": "error", "error_stage": "prepare", "error_code": "not_a_video", "error_detail": "a text"}
    videos = [
        {"video_id": "a"} | OK,
        {"video_id": "b"} | OK,
        {"video_id": "c", "status": "no_face", "prepare_s": 0.25},
        {"video_id": "d", "uri": PATH} | broken,
    ]
    masks = [
        {"video_id": "a", "seconds": 0.5},
        {"video_id": "b", "seconds": 0.5, "layer": "other.layer", "total_bits": 12345.6},
    ]
    lake = make_lake({"runs": [{"busy": 0.914}], "videos": videos, "masks": masks})
    lines = shown(lake)
    assert lines == [
        "",
        "run r1: 2 of 4 videos explained, 1 without a face, 1 failed",
        "",
        "why videos failed",
        "error_stage  error_code   n_videos",
        "-----------  -----------  --------",
        "prepare      not_a_video         1",
        f"  example: {PATH}".replace("\x1b", "\N{REPLACEMENT CHARACTER}"),
        "  detail: a text",
        "",
        "explained",
        "model m, method iba",
        "layer        n_videos  n_maps  n_empty  n_failed  mean_bits  mean_s",
        "-----------  --------  ------  -------  --------  ---------  ------",
        "l                   1       1        0         0          3    0.50",
        "other.layer         1       1        0         0     12,346    0.50",
        "",
        "seconds of all workers together",
        "stage    n_videos  total_s  mean_s  max_s",
        "-------  --------  -------  ------  -----",
        "prepare         3     0.75    0.25   0.25",
        "explain         2     4.00    2.00   2.00",
        "metrics         2     0.00    0.00   0.00",
        "actors explained 91% of the time, and waited for videos the rest of it",
        "",
        "next: check the run and make its tables",
        f"  {called(f'evaluate --lake {lake}')}",
        "look at a video",
        f"  {called(f'render --lake {lake} a')}",
        "list what failed",
        f"  {called(f'sql --lake {lake}')} 'select uri, error_detail from videos where error_code is not null'",
    ]


def test_how_each_layer_was_fitted(make_lake):
    """The figures are those of the draws that were taken, wherever in the order of trying they stand."""
    tried = [{field.name: 0.5 for field in TRIED} | {"samples": 6, "draws": draws} for draws in (2, 4, 6)]
    for each, bits in zip(tried, (0.049, 0.02, 0.017), strict=True):
        each["bits"] = bits
    common = {"model": "m", "cut": "graph", "folded": True}
    layers = [
        common | {"layer": "a", "draws": 4, "holds": True, "tried": tried},
        common | {"layer": "b", "draws": 2, "holds": None, "tried": []},
        common | {"layer": "c", "cut": "hooks", "draws": None, "holds": None, "tried": []},
    ]
    lines = shown(make_lake({"runs": [{"layers": layers}], "videos": [{"video_id": "a"} | OK]}))
    begin = lines.index("how maps were fitted")
    assert lines[begin + 1 : begin + 7] == [
        "model m",
        "layer  cut    draws  holds  samples  pearson  own_pearson   bits",
        "-----  -----  -----  -----  -------  -------  -----------  -----",
        "a      graph      4  true         6    0.500        0.500  0.020",
        "b      graph      2  NULL      NULL     NULL         NULL   NULL",
        "c      hooks   NULL  NULL      NULL     NULL         NULL   NULL",
    ]


def test_a_run_in_which_nothing_was_explained_offers_no_picture(make_lake):
    lines = shown(make_lake({"runs": [{}], "videos": [{"video_id": "c", "status": "no_face", "prepare_s": 0.25}]}))
    assert lines[1] == "run r1: 0 of 1 videos explained, 1 without a face"
    assert not any("render" in line or line == "explained" for line in lines)
