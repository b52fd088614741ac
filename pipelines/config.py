"""The config of a run: frozen dataclasses, filled from TOML and flags, and the run id made from them."""

import dataclasses
import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from operators.explain import LABELLED, PREDICTED
from operators.inputs.view import View
from operators.measures.rules import MaskRule
from operators.methods import METHODS
from operators.methods import readout as readouts
from operators.methods.bottleneck import DEFAULT_PRESET, PRESETS, Bottleneck
from operators.methods.iba import Iba, ReadoutIba
from operators.methods.method import Method
from operators.methods.statistics import about, fits, path_in
from operators.models.spec import PAPER_LAYERS, spec_for
from operators.models.weights import Detector, digest, spec_of
from operators.prepare import PrepareParams
from operators.video.sandbox import Limits
from pipelines.errors import UserError


@dataclass(frozen=True)
class StatisticsParams:
    """Where the layers' mean and standard deviation come from.

    `files` are given ones, as "MODEL/LAYER sha256" below `folder`; the others are estimated from at most `max_videos`
    of the run's own videos.
    """

    max_videos: int = 256
    folder: str | None = field(default=None, metadata={"identity": False})
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class GivenReadouts:
    """Trained readout bottlenecks, as "MODEL/LAYER sha256" below `folder`."""

    folder: str | None = field(default=None, metadata={"identity": False})
    files: tuple[str, ...] = ()

    @property
    def paths(self) -> dict[tuple[str, str], Path]:
        """(model, layer) -> file."""
        keys = [tuple(each.split(" ")[0].split("/")) for each in self.files]
        return {(model, layer): path_in(Path(self.folder or ""), model, layer) for model, layer in keys}


@dataclass(frozen=True)
class Resources:
    """How the work is scheduled. Changes no result, so it is no part of a run's identity."""

    videos_per_block: int = 4
    batch_samples: int = 0  # samples that go through a detector together; 0: 4 on a CPU, what fits on a GPU
    actors: int = 0  # attribution actors; 0: one per GPU, or one on a machine without
    gpus_per_actor: float = 1.0
    threads_per_actor: int = 0  # 0: all of the machine's processors without a GPU


@dataclass(frozen=True)
class Config:
    """Everything a run's results depend on, and how it is scheduled."""

    detectors: tuple[Detector, ...]
    prepare: PrepareParams = field(default_factory=PrepareParams)
    limits: Limits = field(default_factory=Limits)
    bottleneck: Bottleneck = PRESETS[DEFAULT_PRESET]
    statistics: StatisticsParams = field(default_factory=StatisticsParams)
    readouts: GivenReadouts = field(default_factory=GivenReadouts)
    methods: tuple[str, ...] = (Iba.name,)
    targets: tuple[str, ...] = (PREDICTED,)
    mask_rules: tuple[str, ...] = ("max0.5", "top0.1", "otsu")
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
        """The distinct views of the detectors, to be cut from each keyframe."""
        return tuple(sorted({each.spec.view for each in self.detectors}, key=str))

    @property
    def made_methods(self) -> tuple[Method, ...]:
        """The methods with their parameters; given readouts are a method of their own."""
        names = [*self.methods, *([ReadoutIba.name] if self.readouts.files else [])]
        bottlenecks = {Iba.name: Iba(self.bottleneck), ReadoutIba.name: ReadoutIba(self.bottleneck)}
        return tuple(bottlenecks.get(name) or METHODS[name]() for name in dict.fromkeys(names))


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
    """The tables of a TOML file with `section.key=value` settings (TOML values) laid over them.

    Raises UserError for what cannot be read.
    """
    tables: dict[str, Any] = {}
    if file is not None:
        try:
            tables = tomllib.loads(file.read_text())
        except FileNotFoundError as error:
            raise UserError(f"no config file at {file}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file} is not valid TOML: {error}") from error
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"cannot read --set {setting}: write section.key=value, texts in quotes") from error
        *sections, key = name.strip().split(".")
        table = tables
        for section in sections:
            table = table.setdefault(section, {})
        table[key] = parsed
    return tables


def build(
    tables: Mapping[str, Any],
    models: list[str],
    layers: list[str],
    weights: Mapping[str, Path],
    statistics: Path | None = None,
    readout: Path | None = None,
) -> Config:
    """A Config from TOML tables and the flags. Raises UserError naming the field that is wrong."""
    detectors = _detectors(models, layers, weights)
    known = {each.name: each for each in dataclasses.fields(Config) if each.name != "detectors"}
    values: dict[str, Any] = {}
    for name, value in tables.items():
        if name not in known:
            raise UserError(f"unknown config section {name!r}; there are {', '.join(known)}")
        if name == "bottleneck" and isinstance(value, Mapping):
            values[name] = _bottleneck(value)
        else:
            values[name] = _fill(typing.get_type_hints(Config)[name], value, name)
    config = Config(detectors, **values)
    if statistics is not None:
        config = dataclasses.replace(config, statistics=_given(config, statistics))
    if readout is not None:
        config = dataclasses.replace(config, readouts=_given_readouts(config, readout))
    _check_methods(config)
    if config.bottleneck.start == "readout":
        for model, layer in ((each.spec.name, layer) for each in config.detectors for layer in each.layers):
            if (model, layer) not in config.readouts.paths:
                raise UserError(f'bottleneck.start is "readout": give one for {model} {layer} with --readout DIR')
    for rule in config.mask_rules:
        try:
            MaskRule.parse(rule)
        except ValueError as error:
            raise UserError(f"mask_rules: {error}") from error
    return config


def _check_methods(config: Config) -> None:
    """UserError for methods and targets that are none."""
    for name in config.methods:
        if name not in METHODS:
            raise UserError(f"unknown method {name!r}; there are {', '.join(METHODS)}")
    if ReadoutIba.name in config.methods and not config.readouts.files:
        raise UserError("the method readout needs trained ones: give their folder with --readout DIR")
    classes = list(dict.fromkeys(name for each in config.detectors for name in each.spec.classes))
    for target in config.targets:
        if target not in (PREDICTED, LABELLED, *classes):
            raise UserError(f"unknown target {target!r}: {PREDICTED}, {LABELLED} or one of {_some(classes)}")


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def _bottleneck(table: Mapping[str, Any]) -> Bottleneck:
    """A preset with the table's other values over it."""
    name = table.get("preset", DEFAULT_PRESET)
    if name not in PRESETS:
        raise UserError(f"config bottleneck.preset is {' or '.join(PRESETS)}, not {name!r}")
    return fill(PRESETS[name], {key: value for key, value in table.items() if key != "preset"}, "bottleneck")


def _given(config: Config, folder: Path) -> StatisticsParams:
    def why_not(path: Path, _layer: str, detector: Detector) -> str | None:
        served = fits(about(path), detector.weights_sha256)
        return None if served else f"is of other weights of {detector.spec.name}: estimate it for these"

    if not folder.is_dir():
        raise UserError(f"no folder of statistics at {folder}")
    files = _files(config, folder, why_not)
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


def fill(default: Any, table: Mapping[str, Any], where: str) -> Any:
    """The dataclass `default` with the values of a TOML table over its own. Raises UserError naming a wrong field."""
    given = _fill(type(default), table, where)
    try:
        return dataclasses.replace(default, **{key: getattr(given, key) for key in table})
    except ValueError as error:
        raise UserError(f"config {where}: {error}") from error


def _fill(kind: Any, value: Any, where: str) -> Any:
    """`value` from TOML as `kind`: a dataclass from a table, a tuple from an array, a number or text as it is."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise UserError(f"config {where} is a table")
        hints = typing.get_type_hints(kind)
        names = [each.name for each in dataclasses.fields(kind)]
        unknown = [key for key in value if key not in names]
        if unknown:
            raise UserError(f"unknown config field {where}.{unknown[0]}; there are {', '.join(names)}")
        try:
            return kind(**{key: _fill(hints[key], item, f"{where}.{key}") for key, item in value.items()})
        except ValueError as error:
            raise UserError(f"config {where}: {error}") from error
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise UserError(f"config {where} is an array")
        return tuple(_fill(typing.get_args(kind)[0], item, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    accepted = kind if isinstance(kind, type | types.UnionType) else object
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"config {where} is {getattr(kind, '__name__', kind)}, not {value!r}")
    return value


#: what --layer takes for the layers the paper compares
_PAPER: Final = "paper"


def _with_paper_layers(layers: list[str], model: str) -> set[str]:
    if _PAPER not in layers:
        return set(layers)
    if model not in PAPER_LAYERS:
        raise UserError(
            f"--layer {_PAPER}: the paper compares layers of {' and '.join(PAPER_LAYERS)}; name those of {model}"
        )
    return {*layers, *PAPER_LAYERS[model]} - {_PAPER}


def _detectors(models: list[str], layers: list[str], weights: Mapping[str, Path]) -> tuple[Detector, ...]:
    names = models or ["xception", "vgg11-flow"]
    if len(set(names)) != len(names):
        raise UserError("a --model is named twice")
    stray = [name for name in weights if name not in names]
    if stray:
        raise UserError(f"--weights names {stray[0]!r}, which is not among the models {', '.join(names)}")
    detectors = []
    unplaced = set(layers)
    for name in names:
        path = weights.get(name)
        if path is not None and not path.is_file():
            raise UserError(f"no weights file at {path}")
        try:
            spec = (spec_of(path) if path else None) or spec_for(name)
            spec = dataclasses.replace(spec, name=name)
            modules = dict(Detector(spec, ()).load().named_modules()) if layers else {}
        except ValueError as error:
            raise UserError(str(error)) from error
        wanted = _with_paper_layers(layers, name)
        own = tuple(layer for layer in modules if layer in wanted) or (spec.layer,)  # in the order the model runs them
        unplaced -= {_PAPER, *own}
        detectors.append(Detector(spec, own, str(path.resolve()) if path else None, digest(path) if path else None))
    if unplaced:
        raise UserError(f"no model has a layer named {', '.join(sorted(unplaced))}")
    return tuple(detectors)
