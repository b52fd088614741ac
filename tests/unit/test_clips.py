"""Clips: cut as torchvision's recipes say, explained cell of time by cell of time, whichever way a model keeps them."""

import re
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision.models as zoo
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT
from torchvision.models.video.swin_transformer import SwinTransformer3d

from operators.explain import Explainer
from operators.inputs.clips import _smoothed, boxes_of, cut_clips, follow_faces
from operators.inputs.faces import Box
from operators.inputs.flow import FlowParams
from operators.inputs.view import View
from operators.measures.consistency import consistency
from operators.methods import METHODS, readout, statistics
from operators.methods.bottleneck import Bottleneck, cut_for, fit
from operators.methods.extremal import Extremal
from operators.methods.fep import Fep
from operators.methods.gradcam import GradCam
from operators.methods.iba import Iba
from operators.methods.integrated_gradients import IntegratedGradients
from operators.methods.method import LAYER, READOUT, STATISTICS, STILL, Maps, Method, Outputs, Place
from operators.methods.ready import Files
from operators.methods.rise import Rise
from operators.methods.smoothgrad import SmoothGrad
from operators.models.activations import read
from operators.models.clips import CLIP_MODELS, SMALL, create_clip_model, kinetics_classes
from operators.models.cut import folded, frozen, split, split_all
from operators.models.running import example, to_input, to_rgb
from operators.models.spec import spec_for
from operators.models.training import Samples, TrainParams, batches
from operators.models.weights import Detector, load_model, save_model, spec_of, start_from_file
from operators.prepare import PrepareParams, prepare_video, recut_video
from operators.video.keyframes import KeyframeParams, pick_keyframes
from schemas.tables import NESTED, VIDEO_ROW

SPEC = replace(spec_for(SMALL, "frame"), view=View(24, "frame", "clip", frames=4, step=3))
LAYERS = ("layer1", "layer2")
FEW = {
    "iba": Iba(Bottleneck(draws=2, steps=3, antithetic=True)),
    "ig": IntegratedGradients(steps=3),
    "smoothgrad": SmoothGrad(draws=2),
    "rise": Rise(masks=24, cells_of_time=2),
    "extremal": Extremal(steps=3, areas=(0.1, 0.3)),
    "fep": Fep(steps=3, areas=(0.1, 0.3)),
}
OF_CLIPS = [name for name in METHODS if name not in ("face", "occlusion", "lime")]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---------------------------------------------------------------- what torchvision says of its models


@pytest.mark.parametrize("box", [Box(10, 20, 30, 40, 0.5), Box(0, 0, 120, 90, 0.5), Box(119, 89, 1, 1, 0.5)])
def test_a_face_that_stands_still_keeps_its_box_to_the_pixel(box):
    assert _smoothed([box] * 9, (90, 120, 3)) == [box] * 9
    # what a tracker says beyond the picture is not in it
    wide = replace(box, width=box.width + 50, height=box.height + 50)
    for found in _smoothed([wide] * 9, (90, 120, 3)):
        assert (found.x + found.width, found.y + found.height) == (
            min(box.x + box.width + 50, 120),
            min(box.y + box.height + 50, 90),
        )


@pytest.mark.parametrize("name", [name for name in CLIP_MODELS if name != SMALL])
def test_the_specs_are_torchvisions_own(name):
    weights = zoo.get_model_weights(name).DEFAULT
    recipe, said = weights.transforms(), weights.meta["_docs"]
    spec, clip = spec_for(name, "frame", kinetics_classes()), CLIP_MODELS[name]
    assert (list(spec.mean), list(spec.std)) == (list(recipe.mean), list(recipe.std))
    assert ([spec.view.size] * 2, list(clip.resized)) == (recipe.crop_size, recipe.resize_size)
    assert spec.view.frames == int(re.search(r"clip_len=(\d+)", said)[1])
    assert spec.view.step == 30 / float(re.search(r"frame_rate=([\d.]+)", said)[1])
    assert list(spec.classes) == weights.meta["categories"]
    with torch.device("meta"):
        modules = dict(zoo.get_model(name, weights=None).named_modules())
    assert {*clip.stages, clip.layer, clip.head} <= set(modules)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        *[("r3d_18", (256, 4, 14, 14)), ("r2plus1d_18", (256, 4, 14, 14)), ("s3d", (832, 32, 14, 14))],
        *[("mvit_v2_s", (384, 8, 14, 14)), ("swin3d_t", (384, 16, 14, 14)), ("swin3d_s", (384, 16, 14, 14))],
        ("swin3d_b", (512, 16, 14, 14)),
    ],
)
def test_the_layer_that_is_explained_has_channels_time_height_and_width(name, cells):
    spec, layer = spec_for(name), CLIP_MODELS[name].layer
    with torch.device("meta"), torch.no_grad():
        model = create_clip_model(spec.architecture, spec.view, 2).eval()
        found = read(model, [layer], torch.zeros((1, 3, *spec.view.sides)), spec.layout)[layer]
    assert found.shape[1:] == cells


@pytest.mark.parametrize("name", ["r3d_18", "s3d", "swin3d_t"])
@pytest.mark.parametrize("shape", [(180, 320), (320, 180)])
def test_whole_frames_are_cropped_as_torchvision_crops_them(name, shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    frame = np.stack([rows / 2, columns / 2, 60 + rows / 4 + columns / 8], -1).clip(0, 255).astype(np.uint8)
    spec = replace(spec_for(name, "frame"))
    cut = spec.view.cut(frame, None, spec.view.box(None, *shape), FlowParams())
    ours = to_input(cut[None, None], spec)[0]
    theirs = zoo.get_model_weights(name).DEFAULT.transforms()(torch.tensor(frame).permute(2, 0, 1)[None])
    assert ours.shape == theirs.shape == (3, 1, spec.view.size, spec.view.size)
    # a grey level or two: boxes are of whole pixels, and what shrinks is averaged over areas
    assert float((ours - theirs).abs().mean()) < 0.02
    assert float((ours - theirs).abs().max()) < 0.06


def test_inputs_of_clips_become_pixels_again():
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SPEC.view.shape), np.uint8)
    inputs = to_input(pixels, SPEC)
    assert inputs.shape == (2, 3, 4, 24, 24)
    np.testing.assert_array_equal((to_rgb(inputs, SPEC) * 255).round().movedim(1, -1).numpy(), pixels)


def test_a_clip_models_file_carries_its_view_and_gives_a_new_head(tmp_path):
    model = load_model(SPEC, seed=3)
    save_model(model, SPEC, tmp_path / "w.safetensors")
    assert spec_of(tmp_path / "w.safetensors") == SPEC
    more = replace(SPEC, classes=("a", "b", "c"))
    started = start_from_file(more, tmp_path / "w.safetensors")
    assert started.fc.weight.shape[0] == 3
    assert torch.equal(started.layer3.conv2.weight, model.layer3.conv2.weight)


def test_mvit_is_of_one_size():
    with pytest.raises(ValueError, match="mvit_v2_s takes clips of 16 frames of 224 pixels alone"):
        load_model(replace(spec_for("mvit_v2_s"), view=View(56, "face", "clip", frames=8)))


# ---------------------------------------------------------------- layers that keep their cells in other ways


def tokens() -> nn.Module:
    blocks = [
        MSBlockConfig(1, 8, 8, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
        MSBlockConfig(1, 8, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
        MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 1, 1]),
    ]
    options = {"residual_pool": True, "residual_with_cls_embed": False, "rel_pos_embed": True, "proj_after_attn": True}
    return MViT((32, 32), 8, blocks, num_classes=2, **options)


def windows() -> nn.Module:
    return SwinTransformer3d([2, 4, 4], 8, [1, 1], [1, 2], [2, 2, 2], num_classes=2)


@pytest.mark.parametrize(
    ("build", "layer", "layout", "shape"),
    [
        (tokens, "blocks.0", "tokens", (8, 4, 8, 8)),
        (tokens, "blocks.1", "tokens", (16, 4, 4, 4)),
        (tokens, "conv_proj", "tokens", (8, 4, 8, 8)),
        (windows, "features.0", "NHWC", (8, 4, 8, 8)),
        (windows, "features.2", "NHWC", (16, 4, 4, 4)),
    ],
)
def test_cells_come_first_in_channels_and_go_back(build, layer, layout, shape):
    torch.manual_seed(0)
    model = build().eval()
    clip = torch.randn(2, 3, 8, 32, 32)
    with frozen(model), torch.no_grad():
        expected = model(clip)
        by_hooks = replace(split(model, layer, clip[:1], layout))
        plain, cuts = split_all(model, [layer], clip[:1], layout)
        logits, crossings = plain(clip)
        r, rest = crossings[layer]
        assert tuple(r.shape) == (2, *shape)
        torch.testing.assert_close(logits, expected)
        torch.testing.assert_close(read(model, [layer], clip, layout)[layer], r)
        for cut in (by_hooks, cuts[layer], folded(cuts[layer], clip[:1])):
            torch.testing.assert_close(cut.above(r.clone(), rest), expected, rtol=1e-4, atol=1e-5)
        # a cell that is changed is changed in the model: another one, another answer
        moved = cuts[layer].above(torch.cat([r[:1].roll(1, 1), r[1:]]), rest)
    assert not torch.allclose(moved[0], expected[0], atol=1e-5)
    torch.testing.assert_close(moved[1], expected[1], rtol=1e-4, atol=1e-5)
    found = fit(
        cut_for_layout(model, layer, clip, layout), clip, torch.tensor([0, 1]), *noise(r), Bottleneck(draws=2, steps=3)
    )
    assert found.capacity.shape == (2, *shape[1:])
    assert found.capacity.isfinite().all()


def cut_for_layout(model: nn.Module, layer: str, clip: Tensor, layout: str):
    model.requires_grad_(False)
    return split(model, layer, clip[:1], layout)


def noise(r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return r.mean(0), r.std(0) + 0.1, torch.ones_like(r[0], dtype=torch.bool)


# ---------------------------------------------------------------- methods


class Stills(nn.Module):
    """A 2-D network as a clip model: each picture by itself, the mean of what they say."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Conv3d(4, 2, (1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).relu()).mean((2, 3, 4))


class Still(nn.Module):
    """The same of one picture."""

    def __init__(self, clip: Stills) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3)
        for own, other in ((self.one, clip.one), (self.two, clip.two)):
            own.load_state_dict({"weight": other.weight[:, :, 0], "bias": other.bias})

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).relu()).mean((2, 3))


def test_a_clip_of_one_picture_has_the_pictures_bottleneck():
    clips = Stills().eval().requires_grad_(False)
    still = Still(clips).eval().requires_grad_(False)
    pictures, targets = torch.randn(2, 3, 12, 12), torch.tensor([0, 1])
    settings = Bottleneck(draws=2, steps=5)
    mean, std = torch.zeros(4, 12, 12), torch.ones(4, 12, 12)
    flat = fit(cut_for(still, "one", pictures[:1], settings), pictures, targets, mean, std, None, settings)
    thick = pictures.unsqueeze(2)
    cut = cut_for(clips, "one", thick[:1], settings)
    found = fit(cut, thick, targets, mean.unsqueeze(1), std.unsqueeze(1), None, settings)
    torch.testing.assert_close(found.capacity.squeeze(1), flat.capacity, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.bits.squeeze(1), flat.bits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.floor, flat.floor, rtol=1e-4, atol=1e-5)


def test_time_is_not_smoothed():
    """Where only the third of four pictures says anything, those beside it pass no more than the first."""
    clips = Stills().eval().requires_grad_(False)
    clip = torch.zeros(1, 3, 4, 12, 12)
    clip[:, :, 2] = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(0)) * 3
    settings = Bottleneck(draws=4, steps=10)
    with torch.no_grad():
        r = clips.one(clip)[0]
    mean = r[:, :1].expand_as(r).contiguous()  # what an empty picture gives
    cut = cut_for(clips, "one", clip, settings)
    bits = fit(cut, clip, torch.tensor([1]), mean, torch.ones_like(mean), None, settings).capacity[0].sum((1, 2))
    assert bits[2] > 1.2 * bits[0]
    torch.testing.assert_close(bits[[1, 3]], bits[[0, 0]], rtol=5e-3, atol=0)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model(SPEC).requires_grad_(False)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("files")
    with torch.no_grad():
        known = statistics.of_batch(read(model, ["layer2"], torch.randn(12, 3, 4, 24, 24))["layer2"])
    statistics.save(known, folder / "statistics.safetensors", {})
    trained = readout.make({"layer2": known}, "layer2", seed=0)
    nn.init.normal_(trained.network[-1].weight, std=0.01)
    about = {"model": SPEC.name, "layer": "layer2", "weights_sha256": None}
    readout.save(trained, folder / "readout.safetensors", about)
    return {STATISTICS: folder / "statistics.safetensors", READOUT: folder / "readout.safetensors"}


def explain(method: Method, model: nn.Module, files: dict, clips: Tensor, targets: Tensor) -> Maps:
    plain, cuts = split_all(model, ["layer2"], example(SPEC))
    layer = "layer2" if LAYER in method.needs else ""
    ready = method.ready(Place(SPEC, model, layer, example(SPEC), cuts.get(layer), files if layer else {}))
    with torch.no_grad():
        _, crossings = plain(clips)
        layers = read(model, ready.reads, clips) if ready.reads else {}
    return ready.run(clips, targets, Outputs(layers, crossings))


CELLS = {"iba": 2, "readout": 2, "gradcam": 2, "gradcam++": 2, "centre": 1}


@pytest.mark.parametrize("name", OF_CLIPS)
def test_methods_of_clips_have_cells_of_time_and_do_not_see_their_batch(name, model, files):
    clips, targets = torch.randn(3, 3, 4, 24, 24, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0])
    method = FEW.get(name) or METHODS[name]()
    assert STILL not in method.needs
    maps = explain(method, model, files, clips, targets)
    assert maps.saliency.shape[:2] == (3, CELLS.get(name, 4))
    assert maps.saliency.isfinite().all()
    assert maps.saliency.abs().sum() > 0
    alone = explain(method, model, files, clips[1:2], targets[1:2]).saliency[0]
    scale = float(maps.saliency[1].abs().max())
    torch.testing.assert_close(alone, maps.saliency[1], rtol=5e-3, atol=5e-3 * scale)


def test_integrated_gradients_of_a_clip_add_up(model, files):
    clips = torch.randn(2, 3, 4, 24, 24, generator=torch.Generator().manual_seed(1))
    maps = explain(IntegratedGradients(steps=64), model, files, clips, torch.tensor([1, 1]))
    with torch.no_grad():
        black = (-torch.tensor(SPEC.mean) / torch.tensor(SPEC.std)).view(1, 3, 1, 1, 1).expand_as(clips)
        expected = (model(clips) - model(black.contiguous()))[:, 1]
    torch.testing.assert_close(maps.saliency.sum((1, 2, 3)), expected, rtol=0.05, atol=0.02)


# ---------------------------------------------------------------- from a video to rows


LEVELS = [20 + 9 * index for index in range(24)]


def encode(path, images) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "8"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


@pytest.fixture(scope="module")
def grey(tmp_path_factory) -> str:
    """24 frames, each of a grey of its own."""
    images = [np.full((64, 96, 3), level, np.uint8) for level in LEVELS]
    return encode(tmp_path_factory.mktemp("grey") / "a.mp4", images)


def pictures(item: dict, view: View) -> np.ndarray:
    return np.frombuffer(item["pixels"], np.uint8).reshape(view.shape)


def test_a_clip_has_every_so_manyth_frame_from_its_keyframe_on(grey):
    view, faces = SPEC.view, View(24, "face", "clip", frames=3, step=2)
    track = [Box(index, 2, 30, 40, 1.0) for index in range(5)]
    rows = cut_clips(grey, {1: track, 14: None, 15: track[:4]}, (view, faces))
    # 14 + 9 = 23 is the last frame; the face at 15 is followed for 4 frames, and its clip spans 5
    assert [(row["frame"], row["view"], row["span_frames"]) for row in rows] == [
        (1, str(view), 10),
        (1, str(faces), 5),
        (14, str(view), 10),
    ]
    for row, found, indices in zip(
        rows, (view, faces, view), ([1, 4, 7, 10], [1, 3, 5], [14, 17, 20, 23]), strict=True
    ):
        levels = pictures(row, found).mean((1, 2, 3))
        np.testing.assert_allclose(levels, [LEVELS[index] for index in indices], atol=3)
    assert boxes_of(rows[0]["boxes"]) == [Box(16, 0, 64, 64, 1.0)] * 4
    assert boxes_of(rows[1]["boxes"]) == [track[0], track[2], track[4]]
    assert rows[1]["box_x"] == 0


def test_a_keyframe_too_near_the_end_is_moved_to_where_a_clip_still_begins(grey):
    signal = np.zeros(24)
    signal[[4, 21]] = 1.0
    assert pick_keyframes(signal, KeyframeParams())[0].tolist() == [4, 21]
    assert pick_keyframes(signal, KeyframeParams(), span=10)[0].tolist() == [4, 14]
    uniform = KeyframeParams(selection="uniform", max_keyframes=3)
    assert pick_keyframes(signal, uniform, span=10)[0].tolist() == [0, 7, 14]
    assert pick_keyframes(signal, uniform)[0].tolist() == [0, 11, 22]
    params = PrepareParams(uniform)
    found = prepare_video(grey, params, (SPEC.view,))
    assert [row["frame"] for row in found["inputs"]] == [0, 7, 14]
    assert recut_video(grey, found["frames"], params.flow, (SPEC.view,)) == found["inputs"]


def test_a_video_that_is_shorter_than_a_clip_says_so(tmp_path):
    short = encode(tmp_path / "a.mp4", [np.full((64, 96, 3), 90, np.uint8)] * 9)
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    row |= {"video_id": "a", "uri": short, "dataset": "d"} | prepare_video(short, PrepareParams(), (SPEC.view,))
    table = pa.Table.from_pylist([row | {"prepare_s": 0.0}], schema=VIDEO_ROW)
    (found,) = Explainer((Detector(SPEC, ()),), (), ("real",), Files(tmp_path, {}), 2, threads=1)(table).to_pylist()
    assert (found["status"], found["error_code"]) == ("error", "too_short")
    assert found["error_detail"] == "a clip spans 10 frames, and there are 9"


def test_a_face_is_followed_and_its_box_does_not_tremble(tmp_path):
    rng = np.random.default_rng(0)
    scene = (60 + rng.integers(0, 20, (160, 240, 3))).astype(np.uint8)
    patch = rng.integers(0, 256, (10, 10, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    places, images = [], []
    for index in range(20):
        x, y = 30 + 5 * index + (index % 2), 40 + 2 * index
        places.append((x, y))
        image = scene.copy()
        image[y : y + 40, x : x + 40] = patch
        images.append(image)
    track = follow_faces(encode(tmp_path / "a.mp4", images), {2: Box(*places[2], 40, 40, 7.0)}, 16)[2]
    assert len(track) == 16
    centres = np.array([(box.x + box.width / 2, box.y + box.height / 2) for box in track])
    truth = np.array(places[2:18]) + 20
    assert np.abs(centres - truth)[2:-2].max() <= 4
    # it goes back and forth by a pixel in every frame, beside its way of five: the box's steps are alike
    assert np.ptp(np.diff(centres[3:-3, 0])) <= 1.0
    assert len(follow_faces(encode(tmp_path / "b.mp4", images[:6]), {2: track[0]}, 16)[2]) == 4


def rows_of(folder, model: nn.Module) -> list[dict]:
    rng = np.random.default_rng(0)
    boxes = [number for index in range(4) for number in (index, 2, 30, 40)]
    common = {"view": str(SPEC.view), "span_frames": 10, "box_x": 0, "box_y": 2, "box_width": 30, "box_height": 40}
    inputs = [
        common | {"frame": frame, "boxes": boxes, "pixels": rng.integers(0, 256, SPEC.view.shape, np.uint8).tobytes()}
        for frame in (5, 11)
    ]
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    row |= {"video_id": "a", "uri": "a", "dataset": "d", "status": "ok", "inputs": inputs}
    for layer in LAYERS:
        with torch.no_grad():
            known = statistics.of_batch(read(model, [layer], torch.randn(8, 3, 4, 24, 24))[layer])
        statistics.save(known, statistics.path_in(folder, SPEC.name, layer), {})
    methods = (FEW["iba"], GradCam(), FEW["ig"], METHODS["centre"]())
    explainer = Explainer((Detector(SPEC, LAYERS),), methods, ("fake",), Files(folder, {}), 4, threads=1)
    return explainer(pa.Table.from_pylist([row], schema=VIDEO_ROW)).to_pylist()


def test_every_cell_of_time_is_a_row_that_says_which_frames_it_is_about(tmp_path, model):
    (row,) = rows_of(tmp_path, model)
    assert row["status"] == "ok"
    found: dict[tuple, list[tuple]] = {}
    for mask in row["masks"]:
        place = mask["method"], mask["layer"], mask["first_frame"]
        found.setdefault(place, []).append((mask["frame"], mask["span_frames"], mask["box_x"]))
    pictures_of = [(5, 3, 0), (8, 3, 1), (11, 3, 2), (14, 1, 3)]
    assert found["iba", "layer1", 5] == found["ig", "", 5] == pictures_of  # four cells, one for each picture
    assert found["iba", "layer2", 5] == found["gradcam", "layer2", 5] == [(5, 6, 0), (11, 4, 2)]  # two for four
    assert found["centre", "", 11] == [(11, 10, 0)]
    assert len(found) == 2 * (2 + 2 + 1 + 1)
    own = [
        mask for mask in row["masks"] if (mask["method"], mask["layer"], mask["first_frame"]) == ("iba", "layer2", 5)
    ]
    assert own[0]["total_bits"] == own[1]["total_bits"] > 0
    predicted = {(each["frame"], each["method"], each["layer"]) for each in row["predictions"]}
    assert predicted == {
        (frame, *place) for frame in (5, 11) for place in (("", ""), ("iba", "layer1"), ("iba", "layer2"))
    }


def test_masks_of_two_clips_are_not_consecutive():
    left, right = np.zeros((2, 4, 4), bool)
    left[:, :2], right[:, 2:] = True, True
    masks = np.stack([left, left, right, right])
    within = consistency(masks, [0, 0, 7, 7])
    assert (within.iou, within.rpi) == (1.0, 0.0)
    across = consistency(masks)
    assert across.iou == pytest.approx(2 / 3)
    assert across.rpi > 0
    assert (within.tcs, within.persistence) == (across.tcs, across.persistence) == (0.5, 0.5)


def test_a_clip_is_varied_alike_in_all_its_pictures():
    still = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    samples = Samples(
        np.stack([np.stack([still] * 4)] * 4), np.array([0, 1, 0, 1]), np.array(["a", "a", "b", "b"], object)
    )
    for pixels, _, _ in batches(samples, TrainParams(augment=True, batch_size=2), 0, 0, 1):
        assert pixels.shape == (2, 4, 24, 24, 3)
        for clip in pixels:
            assert all((picture == clip[0]).all() for picture in clip)
        assert (pixels != still).any()
