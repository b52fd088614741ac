"""A rendered video shows the planted heat, on the right frame, at the right place, on one scale."""

import itertools
import shutil
from dataclasses import astuple, replace
from datetime import UTC, datetime

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.inputs.faces import Box
from operators.inputs.flow import FlowParams
from operators.models.spec import VGG11_FLOW, XCEPTION
from operators.models.weights import Detector
from operators.pictures.captions import wrapped
from operators.pictures.sheet import CELL_PX, draw_sheet
from operators.prepare import PrepareParams
from operators.video.encode import write_video
from pipelines import pages
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.explained import Map, between, read
from pipelines.lake.layout import Layout
from pipelines.render import render
from schemas.conform import conform
from schemas.tables import CLOSED, EXPLAIN, FRAMES, MASKS, PREDICTIONS, RUNS, SINK_TABLES, TRUTH, VIDEOS

RUN = "0123456789ab"
VIDEO = "clip-00ff"
BOX = (80, 40, 160, 120)  # of 320x240, shown at twice the size
EXPLAINED = (3, 10, 19)  # 19 is the last frame: no flow
#: where the face is found in each of them
BOXES = {3: BOX, 10: (100, 60, 160, 120), 19: (60, 50, 160, 120)}
GREYS = np.linspace(80, 160, 20).astype(np.uint8)


def _write(lake, table, rows, run=RUN):
    folder = lake / f"run_id={run}" / table.name
    folder.mkdir(parents=True, exist_ok=True)
    full = [{**dict.fromkeys(table.schema.names), "run_id": run, **row} for row in rows]
    data = conform(pa.Table.from_pylist(full, schema=table.schema), table.schema)
    pq.write_table(data, folder / "x.parquet")


def _video_row(uri, **changes):
    row = {"video_id": VIDEO, "uri": str(uri), "dataset": "d", "status": "ok", "width": 320, "height": 240}
    return {**row, "n_frames": 20, "fps": 25.0, **changes}


def _commit(lake, *video_ids, run=RUN):
    folder = Layout(lake).checkpoints(EXPLAIN, run)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"video_id": pa.array(video_ids, pa.string())}), folder / "x.parquet")


def _run_row(lake, started=1, run=RUN, xception=("block4",), flow=FlowParams()):  # noqa: B008, it is frozen
    detectors = (Detector(XCEPTION, xception), Detector(VGG11_FLOW, ("features.9",)))
    at, config = datetime(2025, 1, started, tzinfo=UTC), Config(detectors, prepare=PrepareParams(flow=flow))
    _write(lake, RUNS, [{"config": config.to_json(), "started_at": at, "starts": [], "layers": []}], run)


def _quarter(side, bits):
    """All heat in the left top quarter."""
    saliency = np.zeros((side, side), np.float16)
    saliency[: side // 2, : side // 2] = bits
    return saliency.ravel()


def _maps(frame, model, layer, side, input_size, bits):
    mask = {"video_id": VIDEO, "frame": frame, "first_frame": frame, "span_frames": 1 + (model == "vgg11-flow")}
    mask |= {"model": model, "method": "iba", "layer": layer, "target": "fake", "height": side, "width": side}
    mask |= dict(zip(("box_x", "box_y", "box_width", "box_height"), BOXES.get(frame, BOX), strict=True))
    mask |= {"saliency": _quarter(side, bits * 4), "scale": 0.25, "unit": "bits per pixel", "empty": False}
    mask |= {"seconds": 0.0, "input_size": input_size, "total_bits": 321.0}
    common = {"video_id": VIDEO, "frame": frame, "model": model, "class": "fake", "logit": 1.0, "rank": 1}
    plain = {**common, "method": "", "layer": "", "target": "", "probability": 0.9}
    return mask, [plain, {**common, "method": "iba", "layer": layer, "target": "fake", "probability": 0.95}]


def _frames():
    """A grey texture that moves 3 px to the right from frame to frame, and gets brighter."""
    texture = np.random.default_rng(0).normal(0, 30, (30, 40))
    texture = cv2.resize(texture, (320, 240), interpolation=cv2.INTER_CUBIC)
    shifted = [np.roll(texture, 3 * t, axis=1)[..., None] + GREYS[t] for t in range(20)]
    return [np.clip(frame, 0, 255).astype(np.uint8).repeat(3, 2) for frame in shifted]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    root = tmp_path_factory.mktemp("render")
    write_video(root / "clip é.mp4", _frames(), 25, crf=10)
    lake = root / "lake"
    _run_row(lake)
    _write(lake, VIDEOS, [_video_row(root / "clip é.mp4")])
    sides = ("face_x", "face_y", "face_width", "face_height")
    common = {"video_id": VIDEO, "keyframe_score": 0.1, "face_score": 1.0, "status": "ok"}
    frames = [
        common | dict(zip(sides, BOXES[t], strict=True)) | {"frame": t, "time_s": t / 25, "has_flow": t < 19}
        for t in EXPLAINED
    ]
    _write(lake, FRAMES, frames)
    masks, predictions = [], []
    for t in EXPLAINED:
        for mask, pair in [
            _maps(t, "xception", "block4", 8, 299, 0.02 if t == 3 else 0.01),
            *([_maps(t, "vgg11-flow", "features.9", 16, 256, 0.001)] if t < 19 else []),
        ]:
            masks.append(mask)
            predictions += pair
    _write(lake, MASKS, masks)
    _write(lake, PREDICTIONS, predictions)
    _commit(lake, VIDEO)
    return lake


@pytest.fixture(scope="module")
def stills(lake):
    """One frame of every still, and the MP4's path."""
    path, _ = render(lake, "clip", still=True)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.width % 2 == stream.height % 2 == 0
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == 10 * len(EXPLAINED)
    return frames[5::10], path


def _picture(still):
    """The original frame within the page: the left panel, 640x480 at (12, 46)."""
    return still[46 : 46 + 480, 12 : 12 + 640].astype(int)


def _colourfulness(picture):
    return np.ptp(picture, axis=-1)


def _hot(still, frame):
    """The middle of what is hot of a frame, all of it alike, as the box lies there or between two keyframes."""
    x, y = (round(2 * np.interp(frame, EXPLAINED, [BOXES[each][i] for each in EXPLAINED])) + 40 for i in (0, 1))
    return _picture(still)[y : y + 40, x : x + 60]


def test_the_heat_is_in_the_left_top_quarter_of_the_face_box(stills):
    for still, frame in zip(stills[0], EXPLAINED, strict=True):
        x, y, width, height = (2 * side for side in BOXES[frame])
        colour = _colourfulness(_picture(still))  # the video is grey: colour is heat
        hot = colour[y + 10 : y + height // 2 - 25, x + 10 : x + width // 2 - 30]
        assert hot.min() > 40
        colour[y - 4 : y + height // 2 + 25, x - 4 : x + width // 2 + 30] = 0
        assert colour.max() < 30
        assert colour.mean() < 2


def test_each_still_shows_the_frame_its_heat_was_computed_for(stills):
    """Of all frames of the video it is the likest where there is no heat."""
    frames = [cv2.resize(frame, (640, 480)).astype(int) for frame in _frames()]
    for still, number in zip(stills[0], EXPLAINED, strict=True):
        apart = [np.abs(_picture(still)[400:, 450:] - frame[400:, 450:]).mean() for frame in frames]
        assert np.argmin(apart) == number


def test_frames_share_one_scale(stills):
    # frame 3 has twice the bits of the others: full heat is yellow, half heat is red
    full, half, _ = (_hot(still, frame).mean((0, 1)) for still, frame in zip(stills[0], EXPLAINED, strict=True))
    assert full[1] > 150
    assert half[1] < 110
    assert half[0] > half[1] + 40


def test_the_flow_panel_is_there_and_says_so_where_no_frame_follows(stills):
    left = 12 + 640 + 12
    first, _, last = (still[46 : 46 + 480, left : left + 480].astype(int) for still in stills[0])
    hot = first[20:200, 20:200]
    assert hot.mean() > 150  # full heat over the flow map
    assert _colourfulness(first[280:, 280:]).mean() > 20  # the flow map itself: everything moves to the right
    assert first[280:, 280:, 0].mean() > 2 * first[280:, 280:, 2].mean()  # hue 0, red, is to the right
    assert last.max() < 40


def test_the_captions_say_what_the_tables_say(lake):
    _, (of_faces, of_motion), _ = read(lake, VIDEO)
    assert (of_faces.model, of_faces.names, of_motion.names) == ("xception", ["block4", "iba"], ["features.9", "iba"])
    assert list(of_faces.maps) == list(EXPLAINED)
    for frame, found in of_faces.maps.items():
        assert found.lines == ("explains fake • 321 bits", "p(fake) 0.90, with bottleneck 0.95")
        assert (found.frame, found.time_s, astuple(found.box)[:4]) == (frame, frame / 25, BOXES[frame])
        assert found.saliency.max() == pytest.approx(0.02 if frame == 3 else 0.01, rel=1e-3)


#: what the sheet's run takes for the end of the scale of motion; 3 px of the frame are 4.8 of the flow detector's input
FULL_SCALE_PX = 32.0
#: where the columns of the sheet begin: labels, the truth, then what each detector saw and its layers
TRUE_MASK, CROP, BLOCK4, BN3, FLOW, FEATURES9 = 156, 394, 612, 830, 1068, 1286


@pytest.fixture(scope="module")
def sheet(lake):
    """A lake with a second layer and a true mask in two of three frames: its sheet, and the tops of its three rows."""
    other = lake.parent / "other"
    _run_row(other, xception=("block4", "bn3"), flow=FlowParams(full_scale_px=FULL_SCALE_PX))
    _write(other, VIDEOS, [_video_row(lake.parent / "clip é.mp4")])
    rows = {
        table.name: pq.read_table(lake / f"run_id={RUN}" / table.name / "x.parquet").to_pylist()
        for table in (FRAMES, PREDICTIONS, MASKS)
    }
    for t in EXPLAINED:
        mask, (_, through) = _maps(t, "xception", "bn3", 10, 299, 0.005)
        rows[MASKS.name].append({**mask, "saliency": mask["saliency"][::-1]})  # right at the bottom
        rows[PREDICTIONS.name].append(through)
    grid = np.zeros((64, 64), np.uint8)
    grid[:, :32] = 255
    rows[TRUTH.name] = [
        {"video_id": VIDEO, "frame": t, "height": 64, "width": 64, "mask": grid.ravel(), "area": 0.5}
        for t in EXPLAINED[:2]
    ]
    for table in SINK_TABLES[1:]:
        _write(other, table, rows.get(table.name, []))
    _commit(other, VIDEO)
    _, path = render(other, VIDEO, still=True)
    drawn = cv2.imread(str(path))[..., ::-1].astype(int)
    tops = [drawn.shape[0] - (CELL_PX + 33) * number for number in (3, 2, 1)]
    return drawn, tops


def _cell(sheet, row, left):
    drawn, tops = sheet
    return drawn[tops[row] : tops[row] + CELL_PX, left : left + CELL_PX]


def test_the_sheet_has_a_row_for_each_keyframe_and_a_column_for_each_layer(sheet):
    drawn, tops = sheet
    assert drawn.shape[1] == FEATURES9 + CELL_PX + 10
    cold = slice(CELL_PX // 2 + 20, None), slice(10, CELL_PX // 2 - 20)  # left at the bottom: no layer's heat
    for row, frame in enumerate(EXPLAINED):
        for left in (CROP, BLOCK4, BN3):
            cell = _cell(sheet, row, left)[cold]
            assert cell.mean() == pytest.approx(float(GREYS[frame]), abs=15)
            assert _colourfulness(cell).max() < 30
    gaps = np.concatenate([drawn[tops[0] : tops[0] + CELL_PX, left - 9 : left - 1] for left in (CROP, BLOCK4, FLOW)])
    assert np.ptp(gaps, axis=(0, 1)).max() == 0


def test_each_layers_heat_is_where_it_was_on_a_scale_of_its_own(sheet):
    half = CELL_PX // 2
    for row in range(3):
        assert _colourfulness(_cell(sheet, row, CROP)).max() < 30
        assert _colourfulness(_cell(sheet, row, BLOCK4)[10 : half - 25, 10 : half - 25]).min() > 40
        assert _colourfulness(_cell(sheet, row, BN3)[half + 25 : -10, half + 25 : -10]).min() > 40
    # bn3 has an eighth of block4's bits in every frame, and is as bright where that is its most
    full, half_of_it = (_cell(sheet, row, BLOCK4)[20:60, 20:60].mean((0, 1)) for row in (0, 1))
    assert _cell(sheet, 1, BN3)[-60:-20, -60:-20].mean() == pytest.approx(full.mean(), abs=12)
    assert half_of_it[1] < full[1] - 40


def test_the_sheet_shows_the_truth_and_says_where_there_is_none(sheet):
    for row in (0, 1):
        cell = _cell(sheet, row, TRUE_MASK)
        assert cell[:, : CELL_PX // 2 - 6].min() > 250
        assert cell[:, CELL_PX // 2 + 6 :].max() < 5
    assert not _cell(sheet, 2, TRUE_MASK).any()
    drawn, tops = sheet
    below = drawn[tops[2] + CELL_PX : tops[2] + CELL_PX + 20]
    for left in (TRUE_MASK, BLOCK4, BN3, FEATURES9):  # unknown, bits, bits, no map
        assert below[:, left : left + CELL_PX].max() > 120
    for left in (CROP, FLOW):
        assert below[:, left : left + CELL_PX].max() < 30


def test_the_flow_column_shows_what_the_motion_detector_saw(sheet):
    flow = _cell(sheet, 0, FLOW)
    assert flow[..., 0].mean() > 2 * flow[..., 2].mean()  # red: to the right
    assert 10 < np.median(flow[..., 0]) < 60  # at most 4.8 of 32 px are 38, of the default 8 px 153
    assert not _cell(sheet, 2, FLOW).any()
    assert not _cell(sheet, 2, FEATURES9).any()


def test_without_truth_there_is_no_column_for_it(lake, stills):
    path = stills[1].with_suffix(".png")
    assert sorted(p.name for p in path.parent.iterdir()) == [f"{VIDEO}.mp4", f"{VIDEO}.png"]
    assert cv2.imread(str(path)).shape[1] == 4 * CELL_PX + 136 + 10 * 6 + 20


@pytest.fixture(scope="module")
def played(lake, stills, tmp_path_factory):
    """Every frame of the whole video with its heat, in a file that was named; the sheet is that of the stills."""
    out = tmp_path_factory.mktemp("played") / "sub/a.mp4"
    path, sheet = render(lake, VIDEO, out)
    assert (path, sheet) == (out, out.with_suffix(".png"))
    assert sheet.read_bytes() == stills[1].with_suffix(".png").read_bytes()
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 25
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_whole_video_plays_with_the_heat_fading_between_its_keyframes(played):
    assert len(played) == 20
    for number, page in enumerate(played):
        assert _picture(page)[100:300, 500:].mean() == pytest.approx(float(GREYS[number]), abs=12)
    hot = [_hot(page, number) for number, page in enumerate(played)]  # goes with the box from keyframe to keyframe
    heat = [_colourfulness(each).mean() for each in hot]
    assert max(heat[:3]) < 12  # no map before frame 3
    assert min(heat[3:]) > 40
    # frame 3 has twice the heat of frame 10: yellow, then ever redder
    green = [each[..., 1].mean() - GREYS[number] for number, each in enumerate(hot)]
    assert all(later < earlier + 3 for earlier, later in itertools.pairwise(green[3:11]))
    assert green[3] - green[10] > 60
    assert abs(green[10] - green[19]) < 25


def test_what_is_interpolated_says_so(played):
    for number, page in enumerate(played):
        corner = _picture(page)[-24:, :120]  # left at the bottom, where the mark stands
        marked = 3 < number < 19 and number != 10
        assert (corner.min() < 40 and corner.max() > 200) == marked
    # the line below: a dot that moves, full at keyframes alone
    middles = [page[-15, 24 + round(n / 19 * (page.shape[1] - 49))] for n, page in enumerate(played)]
    assert [bool(each.min() > 200) for each in middles] == [n in EXPLAINED for n in range(20)]


def _at(frame, bits, x, target="fake"):
    saliency = np.full((2, 2), bits, np.float32)
    return Map(frame, True, frame / 25, target, Box(x, 0, 40, 40, 1.0), saliency, False, "", "", f"p{frame}", ("", ""))


def test_between_two_keyframes_lies_the_share_of_the_way_and_beyond_them_nothing():
    maps = {4: _at(4, 8.0, 0), 12: _at(12, 0.0, 16)}
    found, _ = between(maps, 6)
    assert found is not None
    assert (found.saliency.tolist(), found.box.x, found.box.width) == ([[6.0] * 2] * 2, 4, 40)
    assert found.time_s == pytest.approx(0.24)
    assert found.lines == ("interpolated between frames 4 and 12", "p4 → p12")
    assert between(maps, 3) == (None, "no map before frame 4")
    assert between(maps, 13) == (None, "no map after frame 12")
    # between nothing and nothing there is nothing, and heat fades into it
    empty = {frame: replace(each, empty=True) for frame, each in maps.items()}
    assert [between(each, 6)[0].empty for each in (empty, maps | {12: empty[12]})] == [True, False]
    # heat for one class is not on its way to heat for another
    assert between(maps | {12: _at(12, 0.0, 16, "real")}, 6)[0] is None


def test_many_panels_are_small_enough_to_be_played(lake):
    video, layers, _ = read(lake, VIDEO)
    many = [replace(layers[0], layer=f"layer {n}") for n in range(40)]
    page = next(pages.stills(video, many, FlowParams(), lambda *_: None))
    assert page.shape[1] <= 3840
    assert page.shape[0] <= 2160


def test_the_methods_that_are_asked_for_are_drawn(lake, tmp_path):
    with pytest.raises(UserError, match="no maps by gradcam: it has those by iba"):
        render(lake, VIDEO, tmp_path / "a.mp4", methods=("iba", "gradcam"))


def test_out_names_the_mp4_and_no_picture(lake, tmp_path):
    with pytest.raises(UserError, match="--out names the MP4"):
        render(lake, VIDEO, tmp_path / "a.png")


def _small_lake(tmp_path, rows):
    lake = tmp_path / "lake"
    _run_row(lake)
    _write(lake, VIDEOS, rows)
    for table in SINK_TABLES[1:]:
        _write(lake, table, [])
    _commit(lake, *[row["video_id"] for row in rows])
    return lake


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "no_face"}, "no face"),
        (
            {"status": "error", "error_stage": "prepare", "error_code": "decode_timeout", "error_detail": "after 60 s"},
            "decode_timeout.*after 60 s",
        ),
    ],
)
def test_a_video_without_explained_frames_says_why(tmp_path, changes, message):
    lake = _small_lake(tmp_path, [_video_row("a.mp4", **changes)])
    with pytest.raises(UserError, match=message):
        render(lake, VIDEO)


def test_unknown_and_ambiguous_ids(tmp_path):
    lake = _small_lake(tmp_path, [_video_row("a.mp4", video_id=name) for name in ("ab1", "ab2", "ab")])
    with pytest.raises(UserError, match="no video xyz"):
        render(lake, "xyz")
    with pytest.raises(UserError, match="no run r9"):
        render(lake, "ab", run_id="r9")
    with pytest.raises(UserError, match="beginning of 3 videos: ab, ab1, ab2"):
        render(lake, "a")
    with pytest.raises(UserError, match="ab has no explained frames"):
        render(lake, "ab")  # a whole id, though others begin with it


def test_a_source_that_is_gone_or_changed(lake, tmp_path):
    moved = tmp_path / "lake"
    moved.symlink_to(lake, target_is_directory=True)
    source = lake.parent / "clip é.mp4"
    kept = source.read_bytes()
    out = tmp_path / "a.mp4"
    try:
        source.unlink()
        with pytest.raises(UserError, match="not_found"):
            render(moved, VIDEO, out)
        write_video(source, [np.zeros((240, 320, 3), np.uint8)] * 5, 25)
        with pytest.raises(UserError, match="has changed: 1 of 3"):
            render(moved, VIDEO, out)
        write_video(source, [np.zeros((100, 100, 3), np.uint8)] * 20, 25)
        with pytest.raises(UserError, match="it was 320x240"):
            render(moved, VIDEO, out)
    finally:
        source.write_bytes(kept)
    assert [each.name for each in tmp_path.iterdir()] == ["lake"]


def test_heat_is_on_the_scale_of_the_run(lake, stills, tmp_path):
    """Another video of the run has maps twice as hot as the hottest of this one, and empty ones a hundred times."""
    other = tmp_path / "lake"
    shutil.copytree(lake, other)
    folder = other / f"run_id={RUN}" / MASKS.name
    hot = [_maps(t, "xception", "block4", 8, 299, 0.04)[0] | {"video_id": "other"} for t in range(40)]
    hot += [row | {"frame": 40 + row["frame"], "scale": 25.0, "empty": True} for row in hot]
    _write(other, MASKS, [*pq.read_table(folder / "x.parquet").to_pylist(), *hot])
    _commit(other, VIDEO, "other")
    path, _ = render(other, VIDEO, tmp_path / "out.mp4", still=True)
    with av.open(str(path)) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    alone, among = (_hot(still, 3).mean((0, 1)) for still in (stills[0][0], shown))
    # frame 3, at full heat where it is the hottest, is at half of it here: inferno's (188, 55, 84), 0.4 over the grey
    assert alone[1] > 180
    grey = float(GREYS[3])
    expected = 0.4 * np.array([188, 55, 84]) + 0.6 * grey
    assert abs(among - expected).max() < 25
    assert among[1] < alone[1] / 2


def _lines(rows):
    """What is written below the heat of a sheet's rows, each once."""
    return dict.fromkeys(row.cells[-1].line for row in rows)


def test_an_empty_map_is_a_grey_picture_that_says_so(lake, tmp_path, monkeypatch):
    other = tmp_path / "lake"
    _run_row(other)
    clip = tmp_path / "red.mp4"
    write_video(clip, [np.full((240, 320, 3), (200, 40, 40), np.uint8)] * 20, 25, crf=10)
    _write(other, VIDEOS, [_video_row(clip)])
    rows = {
        table.name: pq.read_table(lake / f"run_id={RUN}" / table.name / "x.parquet").to_pylist()
        for table in (FRAMES, PREDICTIONS, MASKS)
    }
    # noise alone is judged real: frame 3 is empty because what is left is enough for fake
    says = {"model": "xception", "layer": "block4"}
    noise = [{"class": "real", "probability": 0.875, "rank": 1}, {"class": "fake", "probability": 0.125, "rank": 2}]
    _write(other, CLOSED, [says | row for row in noise])
    rows[MASKS.name] = [row | {"empty": row["frame"] == 3} for row in rows[MASKS.name] if row["model"] == "xception"]
    for table in SINK_TABLES[1:]:
        _write(other, table, rows.get(table.name, []))
    _commit(other, VIDEO)
    said = []
    monkeypatch.setattr(
        "pipelines.render.draw_sheet", lambda *told: (said.extend(_lines(told[1])), draw_sheet(*told))[1]
    )
    path, sheet = render(other, VIDEO, still=True)
    with av.open(str(path)) as container:
        empty, full, _ = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][5::10]
    # the last letters of the reason are in the picture: nothing is written into the margin at the right
    assert not (np.ptp(empty[530:700, 12 + 640 - 10 :].astype(int), axis=(0, 1)) > 20).any()
    assert _colourfulness(_hot(empty, 3)).max() < 12
    # frame 3 has twice the bits of the others, which do not count: the others are at full heat
    assert _hot(full, 10)[..., 1].mean() > 150
    assert said == ["empty, 321 bits: the little that 10 passes leave is enough (p of noise alone 0.12)", "321 bits"]
    drawn = cv2.imread(str(sheet))[..., ::-1].astype(int)
    lines = len(wrapped(said[0], CELL_PX, 14))
    top, left = drawn.shape[0] - (CELL_PX + 33) * 3 - 19 * (lines - 1), 156 + CELL_PX + 10
    assert _colourfulness(drawn[top : top + CELL_PX, left : left + CELL_PX]).max() < 12
    assert _colourfulness(drawn[top : top + CELL_PX, left - 200 : left - 20]).min() > 100  # what the model saw
