"""Cutting a model at a named layer into what lies below and above, so that below runs once."""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from operators.models.activations import Layout, as_in_model, channels_first, layout_at
from operators.models.precision import tf32


@dataclass(frozen=True)
class Split:
    """A model cut at `layer`.

    `below(images) -> (R, rest)`: the layer's output and what else crosses the cut (residual paths).
    `above(Z, rest) -> logits`: the rest of the model from a replaced layer output.
    `kind` says how it was cut: `graph` recomputes nothing; `hooks` runs the whole model again for every `above`.
    `layout` is the model's own at the layer: R and Z are (N, C, h, w), of clips (N, C, t, h, w), whatever it is.
    `folded`: every batch norm above the cut that follows a convolution is part of its weights; `dtype` is that of the
    weights above.
    """

    layer: str
    kind: Literal["graph", "hooks"]
    _below: nn.Module
    _above: nn.Module
    folded: bool = False
    dtype: torch.dtype = torch.float32
    layout: Layout = "NCHW"

    def below(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, 3, H, W) images -> R (N, C, h, w) and the crossing tensors, each with N rows."""
        return self.crossing(*self._below(images))

    def crossing(self, output: Any, rest: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What the model itself has at the layer, as `below` gives it."""
        r, aside = channels_first(output, self.layout)
        return r, (*rest, *aside)

    def above(self, z: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        """Z (M, C, h, w) and crossing tensors of M rows -> logits (M, classes)."""
        own = len(rest) - (self.layout == "tokens")  # the last is the class's token
        return self._above(as_in_model(z, rest[own:], self.layout), rest[:own])

    @property
    def slower(self) -> str | None:
        """What is lost against a cut by graph with batch norm folded; None where nothing is."""
        if self.kind == "hooks":
            return (
                f"{self.layer}: the model cannot be traced there, so every pass of a fit runs all of it, in float32: "
                "maps are right, and take several times as long"
            )
        return None if self.folded else f"{self.layer}: batch norm is not folded into the weights: a few percent slower"


def split(model: nn.Module, layer: str, example: Tensor, layout: Layout = "NCHW") -> Split:
    """Cut `model` at the module named `layer`; by graph where that gives the model's own output, else by hooks.

    `example` is an input batch of at least one row; the graph is only trusted after its output on the example, and on
    the example doubled above the cut alone, equals the model's to float tolerance. Parameters are shared, not copied.

    Raises ValueError for an unknown layer and for a layer that is not run exactly once or gives no tensor.
    """
    if layer not in dict(model.named_modules()) or not layer:
        raise ValueError(f"{type(model).__name__} has no layer {layer!r}; it has {_some_layers(model)}")
    layout = layout_at(model.get_submodule(layer), layout)
    by_hooks = Split(layer, "hooks", _HookBelow(model, layer), _HookAbove(model, layer), layout=layout)
    try:
        by_graph, _ = _cut_at(model, _traced(model, (layer,)), layer, layout)
        with torch.no_grad(), tf32(False):
            same = _continues(by_graph, by_graph.below(example), model(example))
    except Exception:  # a model that cannot be traced fails in as many ways as there are models
        return _checked(by_hooks, example)
    return by_graph if same else _checked(by_hooks, example)


#: what crosses a cut: R (N, C, h, w) and the tensors beside it
Crossing = tuple[Tensor, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Plain:
    """One pass of a model over images, and what crosses each of its cuts.

    `_together` gives all of it at once; without it every cut runs what lies below it.
    """

    _model: nn.Module
    _cuts: Mapping[str, Split]
    _together: nn.Module | None

    def __call__(self, images: Tensor) -> tuple[Tensor, dict[str, Crossing]]:
        """(N, ...) images -> logits (N, classes), and for each layer what `Split.below` gives."""
        if self._together is None:
            return self._model(images), {layer: cut.below(images) for layer, cut in self._cuts.items()}
        logits, crossings = self._together(images)
        return logits, {
            layer: cut.crossing(output, rest)
            for (layer, cut), (output, rest) in zip(self._cuts.items(), crossings, strict=True)
        }


def split_all(
    model: nn.Module, layers: Sequence[str], example: Tensor, layout: Layout = "NCHW"
) -> tuple[Plain, dict[str, Split]]:
    """`model` cut at each of `layers`, and the pass that runs it once for all of them.

    Raises ValueError as `split` does.
    """
    try:
        graph = _traced(model, layers)
        layouts: dict[str, Layout] = {layer: layout_at(model.get_submodule(layer), layout) for layer in layers}
        found = {layer: _cut_at(model, graph, layer, layouts[layer]) for layer in layers}
        cuts = {layer: cut for layer, (cut, _) in found.items()}
        plain = Plain(model, cuts, _all_at_once(model, graph, [crossing for _, crossing in found.values()]))
        with torch.no_grad(), tf32(False):
            expected = model(example)
            logits, crossings = plain(example)
            same = torch.allclose(logits, expected, rtol=1e-3, atol=1e-4) and all(
                _continues(cut, crossings[layer], expected) for layer, cut in cuts.items()
            )
        if same:
            return plain, cuts
    except Exception:  # as many ways to fail as there are models
        pass
    cuts = {layer: split(model, layer, example, layout) for layer in layers}
    return Plain(model, cuts, None), cuts


def _continues(cut: Split, crossing: Crossing, expected: Tensor) -> bool:
    """Whether what lies above goes on from twice the crossing to twice the logits that are expected."""
    r, rest = crossing
    twice = cut.above(torch.cat([r, r]), tuple(torch.cat([t, t]) for t in rest))
    return twice.shape[0] == 2 * expected.shape[0] and torch.allclose(
        twice, torch.cat([expected, expected]), rtol=1e-3, atol=1e-4
    )


_NORMS: Final = (nn.BatchNorm2d, nn.BatchNorm3d)


def folded(cut: Split, example: Tensor) -> Split:
    """The same cut with every batch norm above it that follows a convolution made part of its weights (a copy).

    The cut itself, with `folded` False, where that is not possible: one by hooks, or another output.
    """
    if cut.kind == "hooks":
        return cut
    above = fx.GraphModule(cut._above, _traced_deep(cut._above))
    modules = dict(above.named_modules())
    for node in list(above.graph.nodes):
        norm: Any = modules.get(str(node.target)) if node.op == "call_module" else None
        source = node.args[0] if node.args else None
        if type(norm) not in _NORMS or not isinstance(source, fx.Node) or source.op != "call_module":
            continue
        conv: Any = modules[str(source.target)]
        uses = [each for each in above.graph.nodes if each.op == "call_module" and each.target == source.target]
        # a subclass may do more than to convolve; r3d's does not
        plain = type(conv).forward in (nn.Conv2d.forward, nn.Conv3d.forward)
        if plain and len(source.users) == 1 and len(uses) == 1:
            parent, _, name = str(source.target).rpartition(".")
            setattr(above.get_submodule(parent), name, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(source)
            above.graph.erase_node(node)
    above.delete_all_unused_submodules()
    above.recompile()
    ours = replace(cut, _above=above, folded=True)
    with torch.no_grad(), tf32(False):
        r, rest = cut.below(example)
        rest = tuple(torch.cat([t, t]) for t in rest)  # twice the rows: the trace must not hold their number
        found, expected = (each.above(torch.cat([r, r]), rest) for each in (ours, cut))
    same = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-4)
    return ours if same else cut


def lowered(cut: Split, dtype: torch.dtype) -> Split:
    """The same cut with a copy of what lies above it in `dtype`; Z and logits stay what they were. Not by hooks."""
    return cut if cut.kind == "hooks" else replace(cut, _above=_Lowered(cut._above, dtype), dtype=dtype)


class _Lowered(nn.Module):
    def __init__(self, above: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self._above = copy.deepcopy(above).to(dtype)  # the parameters are the model's own
        self._dtype = dtype

    def forward(self, z: Any, rest: tuple[Tensor, ...]) -> Tensor:
        rest = tuple(each.to(self._dtype) if each.is_floating_point() else each for each in rest)
        if isinstance(z, tuple):  # tokens and how they lie
            return self._above((z[0].to(self._dtype), z[1]), rest).to(z[0].dtype)
        return self._above(z.to(self._dtype), rest).to(z.dtype)


def _checked(by_hooks: Split, example: Tensor) -> Split:
    with torch.no_grad():
        by_hooks.above(*by_hooks.below(example))
    return by_hooks


def _some_layers(model: nn.Module) -> str:
    names = [name for name, _ in model.named_children()]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


class _PathTracer(fx.Tracer):
    """Traces only the modules that contain one of the layers; every other one stays one opaque call."""

    def __init__(self, layers: Sequence[str]) -> None:
        super().__init__()
        self._layers = layers

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(layer.startswith(module_qualified_name + ".") for layer in self._layers)


def _traced_deep(module: nn.Module) -> fx.Graph:
    """As deep as can be; the tracer that asks every module first takes ten times as long, and few models need it."""
    try:
        return fx.Tracer().trace(module)
    except Exception:  # as many ways to fail as there are models
        return _ConvolutionTracer({}).trace(module)


class _ConvolutionTracer(fx.Tracer):
    """Traces as deep as it can; a module that cannot be traced stays one opaque call."""

    def __init__(self, opaque: dict[nn.Module, bool]) -> None:
        super().__init__()
        self._opaque = opaque

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if m not in self._opaque:
            self._opaque[m] = super().is_leaf_module(m, module_qualified_name)
            if not self._opaque[m]:
                try:
                    _ConvolutionTracer(self._opaque).trace(m)
                except Exception:  # as many ways to fail as there are models
                    self._opaque[m] = True
        return self._opaque[m]


def _traced(model: nn.Module, layers: Sequence[str]) -> fx.Graph:
    options = list(inspect.signature(model.forward).parameters.values())[1:]
    return _PathTracer(layers).trace(model, {each.name: each.default for each in options})


def _cut_at(model: nn.Module, graph: fx.Graph, layer: str, layout: Layout) -> tuple[Split, list[fx.Node]]:
    """The cut, and the nodes that cross it, the layer's own first. Raises ValueError where there is no such cut."""
    cuts = [node for node in graph.nodes if node.op == "call_module" and node.target == layer]
    if len(cuts) != 1:
        raise ValueError(f"layer {layer!r} is run {len(cuts)} times in one pass")
    cut = cuts[0]
    dependent = {cut}
    for node in graph.nodes:
        if any(source in dependent for source in node.all_input_nodes):
            dependent.add(node)
    output = next(node for node in graph.nodes if node.op == "output")
    # What dependent nodes read from outside, parameters apart, has to be handed over the cut.
    crossing = []
    for node in graph.nodes:
        if node in dependent and node is not cut:
            for source in node.all_input_nodes:
                if source not in dependent and source.op != "get_attr" and source not in crossing:
                    crossing.append(source)

    below = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node is output or (node in dependent and node is not cut):
            continue
        copies[node] = below.node_copy(node, copies.__getitem__)
    below.output((copies[cut], tuple(copies[node] for node in crossing)))

    above = fx.Graph()
    z = above.placeholder("z")
    rest = above.placeholder("rest")
    copies = {cut: z}
    for i, node in enumerate(crossing):
        copies[node] = above.call_function(_item, (rest, i))
    for node in graph.nodes:
        if node is cut or node is output:
            continue
        if node in dependent or node.op == "get_attr":
            copies[node] = above.node_copy(node, copies.__getitem__)
    above.output(fx.map_arg(output.args[0], copies.__getitem__))
    return Split(layer, "graph", _module(model, below), _module(model, above), layout=layout), [cut, *crossing]


def _all_at_once(model: nn.Module, graph: fx.Graph, crossings: Sequence[Sequence[fx.Node]]) -> fx.GraphModule:
    """The whole graph, which gives (logits, ((R, rest), ...)) with a copy of everything that crosses a cut.

    A copy, because what comes later may work in place on it.
    """
    whole = fx.Graph()
    kept = {node for crossing in crossings for node in crossing}
    copies: dict[fx.Node, fx.Node] = {}
    saved: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op != "output":
            copies[node] = whole.node_copy(node, copies.__getitem__)
            if node in kept:
                saved[node] = whole.call_function(_copied, (copies[node],))
    output = next(node for node in graph.nodes if node.op == "output")
    logits = fx.map_arg(output.args[0], copies.__getitem__)
    whole.output((logits, tuple((saved[first], tuple(saved[node] for node in rest)) for first, *rest in crossings)))
    return _module(model, whole)


def _copied(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_copied, value))
    return value.clone() if isinstance(value, Tensor) else value


def _module(model: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    module = fx.GraphModule(model, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _item(values: tuple[Tensor, ...], index: int) -> Tensor:
    return values[index]


class _Stop(Exception):
    """Ends a forward pass at the layer: nothing above it is needed."""


class _HookBelow(nn.Module):
    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self._model = [model]  # in a list: not a submodule, so that nothing is registered twice
        self._layer = layer

    def forward(self, images: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
        caught: list[Any] = []

        def catch(_module: nn.Module, _inputs: object, output: object) -> None:
            caught.append(output)
            raise _Stop

        with _hooked(self._model[0].get_submodule(self._layer), catch), suppress(_Stop):
            self._model[0](images)
        if not caught or not isinstance(caught[0][0] if isinstance(caught[0], tuple) else caught[0], Tensor):
            raise ValueError(f"layer {self._layer!r} gives no tensor in a forward pass")
        return caught[0], (images,)


class _HookAbove(nn.Module):
    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self._model = [model]
        self._layer = layer

    def forward(self, z: Any, rest: tuple[Tensor, ...]) -> Tensor:
        runs = 0

        def replace(_module: nn.Module, _inputs: object, _output: object) -> object:
            nonlocal runs
            runs += 1
            return z

        with _hooked(self._model[0].get_submodule(self._layer), replace):
            logits = self._model[0](rest[0])
        if runs != 1:
            raise ValueError(f"layer {self._layer!r} is run {runs} times in one pass")
        return logits


@contextmanager
def _hooked(module: nn.Module, hook: object) -> Iterator[None]:
    handle = module.register_forward_hook(hook)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Eval mode and no weight gradients inside; training flags and requires_grad as before outside."""
    training = {module: module.training for module in model.modules()}
    requires_grad = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, flag in training.items():
            module.training = flag
        for parameter, flag in requires_grad.items():
            parameter.requires_grad_(flag)
