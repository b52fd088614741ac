"""The config of a run: frozen dataclasses, filled from TOML and flags, and the run id made from them."""

import dataclasses
import hashlib
import json
import math
import re
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, MinLen, MultipleOf
from pydantic import AfterValidator, TypeAdapter, ValidationError

from operators.explain import LABELLED, PREDICTED
from operators.inputs.view import Part, View
from operators.measures.rules import MaskRule
from operators.methods import METHODS
from operators.methods import readout as readouts
from operators.methods.bottleneck import DEFAULT_PRESET, PRESETS, Bottleneck
from operators.methods.budget import BUDGETS, DEFAULT_BUDGET, Budget
from operators.methods.face import Face
from operators.methods.iba import Iba, ReadoutIba
from operators.methods.method import PICTURE, STILL, Method
from operators.methods.statistics import about, crops, path_in, why_not
from operators.models.clips import CLIP_MODELS
from operators.models.spec import PAPER_LAYERS, ModelSpec, layer_names, spec_for
from operators.models.weights import Detector, digest, fetch_published, is_clip_model, spec_of
from operators.prepare import PrepareParams
from operators.storage.remote import path_of
from operators.video.sandbox import Limits
from pipelines.errors import UserError
from schemas.params import checked
from schemas.tables import LABELS

#: sections of a config file that are not a run's: `train`, `train-readout` and `judge` take them
_OTHERS: Final = ("train", "readout", "judge")
#: a text of `--set` that needs no quotes: a shell would want a second pair around them
_WORD: Final = re.compile(r"[A-Za-z][\w-]*")
#: the flag that fills `folder` and `files` of a section
_BY_FLAG: Final = {"statistics": "--statistics", "readouts": "--readout"}
#: what --view takes besides the parts: the middle of the whole frame, by models of clips alone
CLIP: Final = "clip"
Looked = Part | Literal["clip"]
#: what Ray makes its blocks of; a row it cannot cut
_ROW_BYTES: Final = 128 << 20


@checked
class StatisticsParams:
    """Where the layers' mean and standard deviation come from.

    `files` are given ones, as "MODEL/LAYER sha256" below `folder`; the others are estimated from at most `max_videos`
    of the run's own videos.
    """

    max_videos: Annotated[int, Ge(1), Le(1_000_000)] = 256
    folder: str | None = field(default=None, metadata={"identity": False})
    files: tuple[str, ...] = ()

    @property
    def paths(self) -> dict[tuple[str, str], Path]:
        """(model, layer) -> given file."""
        return _paths(self.folder, self.files)


@checked
class GivenReadouts:
    """Trained readout bottlenecks, as "MODEL/LAYER sha256" below `folder`."""

    folder: str | None = field(default=None, metadata={"identity": False})
    files: tuple[str, ...] = ()

    @property
    def paths(self) -> dict[tuple[str, str], Path]:
        """(model, layer) -> file."""
        return _paths(self.folder, self.files)


def _paths(folder: str | None, files: tuple[str, ...]) -> dict[tuple[str, str], Path]:
    keys = [tuple(each.split(" ")[0].split("/")) for each in files]
    return {(model, layer): path_in(path_of(folder or ""), model, layer) for model, layer in keys}


@checked
class Resources:
    """How the work is scheduled. Changes no result, so it is no part of a run's identity."""

    videos_per_block: Annotated[int, Ge(1), Le(256)] = 4
    #: videos that an attribution actor is given at a time; 0: a block on a CPU, 32 on a GPU
    videos_per_call: Annotated[int, Ge(0), Le(4096)] = 0
    #: samples that go through a detector together; 0: 4 on a CPU, what fits on a GPU
    batch_samples: Annotated[int, Ge(0), Le(1024)] = 0
    #: attribution actors; 0: one per GPU, or one on a machine without
    actors: Annotated[int, Ge(0), Le(10_000)] = 0
    #: share of a GPU for each; not set: a whole one where there are GPUs, and none where there are none. Set: it is
    #: waited for, where a cluster may grow
    gpus_per_actor: Annotated[float, Ge(0.01), Le(1)] | None = None
    #: 0: all of the machine's processors without a GPU
    threads_per_actor: Annotated[int, Ge(0), Le(1024)] = 0


def _rule(name: str) -> str:
    return str(MaskRule.parse(name))


def _distinct(rules: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(rules)) < len(rules):
        raise ValueError("a mask rule is named twice")
    return rules


MaskRules = Annotated[tuple[Annotated[str, AfterValidator(_rule)], ...], MinLen(1), AfterValidator(_distinct)]


@dataclass(frozen=True)
class Config:
    """Everything a run's results depend on, and how it is scheduled."""

    detectors: tuple[Detector, ...]
    prepare: PrepareParams = field(default_factory=PrepareParams)
    limits: Limits = field(default_factory=Limits)
    bottleneck: Bottleneck = PRESETS[DEFAULT_PRESET]
    budget: Budget = BUDGETS[DEFAULT_BUDGET]
    statistics: StatisticsParams = field(default_factory=StatisticsParams)
    readouts: GivenReadouts = field(default_factory=GivenReadouts)
    methods: Annotated[tuple[str, ...], MinLen(1)] = (Iba.name,)
    targets: Annotated[tuple[str, ...], MinLen(1)] = (PREDICTED,)
    mask_rules: MaskRules = ("max0.5", "top0.1", "otsu")
    resources: Resources = field(default_factory=Resources, metadata={"identity": False})

    @property
    def run_id(self) -> str:
        """12 hexadecimal digits of the SHA-256 over everything that changes results."""
        identity = json.dumps(_plain(self, identity_only=True), sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """The whole config, for the table `runs`."""
        return json.dumps(_plain(self, identity_only=False), sort_keys=True)

    @property
    def views(self) -> tuple[View, ...]:
        """The distinct views of the detectors and methods, to be cut from each keyframe."""
        views = {each.spec.view for each in self.detectors}
        if any(PICTURE in method.needs for method in self.made_methods):
            views |= {view.picture for view in views}
        return tuple(sorted(views, key=str))

    @property
    def classes(self) -> tuple[str, ...]:
        """What the models tell apart, each name once: the labels that videos can have by their folder."""
        return tuple(dict.fromkeys(name for each in self.detectors for name in each.spec.classes))

    def about_statistics(self, detector: Detector) -> dict[str, Any]:
        """What statistics of a detector's layers have to be about to serve this run."""
        spec, prepare = detector.spec, _plain(self.prepare, identity_only=False)
        return {
            "weights_sha256": detector.weights_sha256,
            "crops": crops(spec.view, spec.mean, spec.std, prepare),
        }

    @property
    def made_methods(self) -> tuple[Method, ...]:
        """The methods with their parameters; given readouts are a method of their own."""
        names = [*self.methods, *([ReadoutIba.name] if self.readouts.files else [])]
        made = (Iba(self.bottleneck), ReadoutIba(self.bottleneck), Face(self.prepare.faces.margin), *self.budget)
        with_parameters = {method.name: method for method in made}
        return tuple(with_parameters.get(name) or METHODS[name]() for name in dict.fromkeys(names))


def of_run(text: str) -> Config:
    """The config in a row of `runs`. Raises UserError for one that is not of this version."""
    try:
        return TypeAdapter(Config).validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError("the run's config is of another version of viba: explain the videos again") from error


def _plain(value: Any, identity_only: bool) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            each.name: _plain(getattr(value, each.name), identity_only)
            for each in dataclasses.fields(value)
            if not identity_only or each.metadata.get("identity", True)
        }
    if isinstance(value, tuple):
        return [_plain(item, identity_only) for item in value]
    return value


def load(file: Path | None, settings: list[str]) -> dict[str, Any]:
    """The tables of a TOML file with `section.key=value` settings (TOML values, one word also without its quotes) laid
    over them.

    They may be those of several commands. Raises UserError for what cannot be read, and for a section no command has.
    """
    tables: dict[str, Any] = {}
    if file is not None:
        try:
            tables = tomllib.loads(file.read_text())
        except OSError as error:
            raise UserError(f"cannot read the config {file}: {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"{file} is not valid TOML: {error}") from error
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except ValueError as error:
            if not _WORD.fullmatch(value):
                raise UserError(f"cannot read --set {setting}: write section.key=value, texts in quotes") from error
            parsed = value
        *sections, key = name.strip().split(".")
        if not sections and key not in (known := _known()):
            raise UserError(f"--set {setting}: write section.key=value; sections are {', '.join(known)}")
        table = tables
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise UserError(f"--set {setting}: {section} was set to {table!r}, which has no fields")
        table[key] = parsed
    _check_sections(tables)
    return tables


def _check_sections(tables: Mapping[str, Any]) -> None:
    known = _known()
    for name in tables:
        if name not in known:
            raise UserError(f"unknown config section {name!r}; there are {', '.join(known)}")


def _known() -> list[str]:
    """The sections that any command has."""
    return [*_sections(), *_OTHERS]


def _sections() -> dict[str, Any]:
    """A run's sections with their types."""
    return {name: hint for name, hint in get_type_hints(Config, include_extras=True).items() if name != "detectors"}


def build(
    tables: Mapping[str, Any],
    models: list[str],
    layers: list[str],
    weights: Mapping[str, Path],
    statistics: Path | None = None,
    readout: Path | None = None,
    view: Looked | None = None,
    classes: tuple[str, ...] | None = None,
) -> Config:
    """A Config from TOML tables and the flags. Raises UserError naming the field that is wrong.

    `view` and `classes` are those of every model: a weights file that says what its model looks at, or tells apart,
    must not say otherwise.
    """
    _check_sections(tables)
    values: dict[str, Any] = {}
    for name, hint in _sections().items():
        if name in tables:
            values[name] = _WITH_PRESETS.get(name, partial(_filled, hint, where=name))(tables[name])
    for name, flag in _BY_FLAG.items():
        if name in tables and {"folder", "files"} & set(tables[name]):
            raise UserError(f"config {name}: its folder and files are set by {flag} DIR")
    config = Config(_detectors(models, layers, weights, view, classes), **values)
    check_row(config.prepare.keyframes.max_keyframes, config.views)
    if statistics is not None:
        config = dataclasses.replace(config, statistics=_given_statistics(config, statistics))
    if readout is not None:
        config = dataclasses.replace(config, readouts=_given_readouts(config, readout))
    _check_methods(config)
    if config.bottleneck.start == "readout":
        for model, layer in ((each.spec.name, layer) for each in config.detectors for layer in each.layers):
            if (model, layer) not in config.readouts.paths:
                raise UserError(f'bottleneck.start is "readout": give one for {model} {layer} with --readout DIR')
    return config


def _check_methods(config: Config) -> None:
    """UserError for methods and targets that are none."""
    for name in config.methods:
        if name not in METHODS:
            raise UserError(f"unknown method {name!r}; there are {', '.join(METHODS)}")
    if ReadoutIba.name in config.methods and not config.readouts.files:
        raise UserError("the method readout needs trained ones: give their folder with --readout DIR")
    if Face.name in config.methods:
        for spec in (each.spec for each in config.detectors if each.spec.view.part != "face"):
            raise UserError(f"the method {Face.name} is for models that look at faces; {spec.name} does not")
    still = [method.name for method in config.made_methods if STILL in method.needs]
    for spec in (each.spec for each in config.detectors if still and each.spec.view.shows == "clip"):
        raise UserError(f"the method {still[0]} is for pictures; {spec.name} looks at clips")
    for target in config.targets:
        if target not in (PREDICTED, LABELLED, *config.classes):
            raise UserError(f"unknown target {target!r}: {PREDICTED}, {LABELLED} or one of {_some(config.classes)}")


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def check_row(max_keyframes: int, views: tuple[View, ...]) -> None:
    """Raises UserError where the inputs cut from a video, which make one row, can be more than a row may hold."""
    each = sum(math.prod(view.shape) for view in views)
    if max_keyframes * each > _ROW_BYTES:
        raise UserError(
            f"config prepare.keyframes.max_keyframes: {max_keyframes} keyframes of {each / 1e6:.2g} MB each are more "
            f"than the {_ROW_BYTES / 1e6:.0f} MB that a row holds: at most {_ROW_BYTES // each} with these inputs"
        )


def _bottleneck(table: Any) -> Bottleneck:
    """A preset with the table's other values over it."""
    if not isinstance(table, Mapping):
        return _filled(Bottleneck, table, "bottleneck")
    preset = _filled(Literal[tuple(PRESETS)], table.get("preset", DEFAULT_PRESET), "bottleneck.preset")
    return fill(PRESETS[preset], {key: value for key, value in table.items() if key != "preset"}, "bottleneck")


def _budget(table: Any) -> Budget:
    """A preset with the values of the table's own tables over it."""
    if not isinstance(table, Mapping):
        return _filled(Budget, table, "budget")
    preset = BUDGETS[_filled(Literal[tuple(BUDGETS)], table.get("preset", DEFAULT_BUDGET), "budget.preset")]
    given = {name: value for name, value in table.items() if name != "preset"}
    if unknown := given.keys() - {each.name for each in dataclasses.fields(Budget)}:
        return _filled(Budget, {name: given[name] for name in unknown}, "budget")
    own = {name: fill(getattr(preset, name), value, f"budget.{name}") for name, value in given.items()}
    return dataclasses.replace(preset, **own)


#: sections that begin with a preset
_WITH_PRESETS: Final[dict[str, Callable[[Any], Any]]] = {"bottleneck": _bottleneck, "budget": _budget}


def _given_statistics(config: Config, folder: Path) -> StatisticsParams:
    def refusal(path: Path, _layer: str, detector: Detector) -> str | None:
        reason = why_not(about(path), config.about_statistics(detector))
        return reason and f"{reason}: estimate it for {detector.spec.name} as it is explained"

    if not folder.is_dir():
        raise UserError(f"no folder of statistics at {folder}")
    files = _files(config, folder, refusal)
    if not files:
        raise UserError(f"{folder} has no statistics of these detectors and layers: it needs MODEL/LAYER.safetensors")
    return dataclasses.replace(config.statistics, folder=str(folder.resolve()), files=files)


def _given_readouts(config: Config, folder: Path) -> GivenReadouts:
    def why_not(path: Path, layer: str, detector: Detector) -> str | None:
        reason = readouts.why_not(readouts.about(path), layer, detector.weights_sha256)
        return reason and f"{reason}: train one with train-readout"

    files = _files(config, folder, why_not)
    if not files:
        raise UserError(f"{folder} has no readout for these detectors and layers: train one with train-readout")
    return GivenReadouts(str(folder.resolve()), files)


def _files(config: Config, folder: Path, why_not: Callable[[Path, str, Detector], str | None]) -> tuple[str, ...]:
    """ "MODEL/LAYER sha256" of the files in `folder` for the config's layers. UserError for one that does not serve."""
    found = []
    for detector in config.detectors:
        for layer in detector.layers:
            path = path_in(folder, detector.spec.name, layer)
            if path.is_file():
                try:
                    reason = why_not(path, layer, detector)
                except ValueError as error:
                    raise UserError(str(error)) from error
                if reason is not None:
                    raise UserError(f"{path} {reason}")
                found.append(f"{detector.spec.name}/{layer} {digest(path)}")
    return tuple(found)


def fill(default: Any, table: Any, where: str) -> Any:
    """The flat dataclass `default` with the values of a TOML table over its own.

    Raises UserError naming a wrong field, its value and what it may hold.
    """
    if isinstance(table, Mapping):
        table = dataclasses.asdict(default) | dict(table)
    return _filled(type(default), table, where)


def _filled(hint: Any, value: Any, where: str) -> Any:
    """`value` from TOML as `hint` says. As JSON, where arrays are tuples and tables are dataclasses."""
    try:
        return TypeAdapter(hint).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(_wrong(hint, first["loc"], first["input"], first.get("ctx", {}).get("error"), where)) from error


def _wrong(hint: Any, path: tuple[int | str, ...], value: Any, said: Exception | None, where: str) -> str:
    """What is wrong with the `value` at `path` below `where`; `said` is the error of our own, where it is one."""
    for step in path:
        if isinstance(step, int):
            hint, where = get_args(get_args(hint)[0] if get_origin(hint) is Annotated else hint)[0], f"{where}[{step}]"
            continue
        hints = get_type_hints(hint, include_extras=True)
        known = {each.name: hints[each.name] for each in dataclasses.fields(hint)}
        if step not in known:
            return f"unknown config field {where}.{step}; there are {', '.join(known)}"
        hint, where = known[step], f"{where}.{step}"
    return f"config {where}: {said or f'{json.dumps(value)} is not {allowed(hint)}'}"


_KINDS: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "an array"}
_LIMITS: Final = {Ge: "from", Gt: "above", Le: "up to", MultipleOf: "divisible by", MinLen: "of at least"}


def allowed(hint: Any) -> str:
    """What a field of this type may hold, in words."""
    limits = getattr(hint, "__metadata__", ())
    kind = get_args(hint)[0] if limits else hint
    if get_origin(kind) is Literal:
        return " or ".join(json.dumps(each) for each in get_args(kind))
    if get_origin(kind) in (types.UnionType, Union):  # with None, which is to leave the field out
        return allowed(get_args(kind)[0])
    words = "a table" if dataclasses.is_dataclass(kind) else _KINDS[get_origin(kind) or kind]
    said = [f"{_LIMITS[type(each)]} {dataclasses.astuple(each)[0]}" for each in limits if type(each) in _LIMITS]
    return " ".join([words, *said])


def part_of(view: Looked | None) -> Part | None:
    """What --view says of the frame."""
    return "frame" if view == CLIP else view


def _check_told(spec: ModelSpec, view: Looked | None, classes: tuple[str, ...] | None, path: Path) -> None:
    """UserError for flags against what a weights file says of its model."""
    if part_of(view) not in (None, spec.view.part):
        raise UserError(f"--view {view}: the model in {path} looks at the {spec.view.part}")
    if classes not in (None, spec.classes):
        raise UserError(f"--classes: the model in {path} has its own, {_some(spec.classes)}")


#: what --layer takes for the layers the paper compares, and for those that end the stages of a clip model
_PAPER: Final = "paper"
_STAGES: Final = "stages"
#: how many are named where one is asked for that there is not
_SOME_LAYERS: Final = 6


def _with_known_layers(layers: list[str], model: str) -> set[str]:
    found = set(layers)
    if _PAPER in layers:
        if model not in PAPER_LAYERS:
            raise UserError(
                f"--layer {_PAPER}: the paper compares layers of {' and '.join(PAPER_LAYERS)}; name those of {model}"
            )
        found |= set(PAPER_LAYERS[model])
    if _STAGES in layers:
        if model not in CLIP_MODELS:
            raise UserError(f"--layer {_STAGES}: they are known of {', '.join(CLIP_MODELS)}; name those of {model}")
        found |= set(CLIP_MODELS[model].stages)
    return found - {_PAPER, _STAGES}


def _detectors(
    models: list[str],
    layers: list[str],
    weights: Mapping[str, Path],
    view: Looked | None,
    classes: tuple[str, ...] | None,
) -> tuple[Detector, ...]:
    names = models or ["xception", "vgg11-flow"]
    if len(set(names)) != len(names):
        raise UserError("a --model is named twice")
    stray = [name for name in weights if name not in names]
    if stray:
        raise UserError(f"--weights names {stray[0]!r}, which is not among the models {', '.join(names)}")
    detectors = []
    unplaced, known = set(layers), ""
    for name in names:
        path = weights.get(name)
        if path is not None and not path.is_file() and name in CLIP_MODELS and path.name == str(path):
            try:
                path = fetch_published(spec_for(name), path.name)
            except ValueError as error:
                raise UserError(f"--weights {name}={path}: no such file, and {error}") from error
        if path is not None and not path.is_file():
            raise UserError(f"no weights file at {path}")
        try:
            spec = spec_of(path) if path else None
            if path is None or spec is None:
                spec = spec_for(name, part_of(view) or "face", LABELS if classes is None else classes)
            else:
                _check_told(spec, view, classes, path)
            spec = dataclasses.replace(spec, name=name)
            if view == CLIP and not is_clip_model(spec):
                raise UserError(
                    f"--view {CLIP}: {name} looks at pictures; models of clips are {', '.join(CLIP_MODELS)}"
                )
            modules = layer_names(spec) if layers else []
            some = list(filter(None, modules))[:: max(len(modules) // _SOME_LAYERS, 1)][:_SOME_LAYERS]
            known = f"of the {len(modules)} of {name} some are {', '.join(some)}"
        except ValueError as error:
            raise UserError(str(error)) from error
        wanted = _with_known_layers(layers, name)
        own = tuple(layer for layer in modules if layer in wanted) or (spec.layer,)  # in the order the model runs them
        unplaced -= {_PAPER, _STAGES, *own}
        detectors.append(Detector(spec, own, str(path.resolve()) if path else None, digest(path) if path else None))
    if unplaced:
        raise UserError(f"no model has a layer named {', '.join(sorted(unplaced))}: {known}")
    return tuple(detectors)
