"""What chosen layers of a model give in one plain forward pass."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torchvision.models.video.mvit import MultiscaleBlock

#: the name of the model itself among its modules: its output are the logits
LOGITS: Final = ""


class _Stop(Exception):
    """Ends a forward pass when everything is read: nothing above is needed."""


#: how a model's layers give their cells: channels first or last, or as tokens after one of the class, (tokens, sides)
Layout = Literal["NCHW", "NHWC", "tokens"]


def layout_at(module: nn.Module, layout: Layout) -> Layout:
    """Of one layer of a model of such a layout: of models of tokens only whole blocks give them."""
    return "NCHW" if layout == "tokens" and not isinstance(module, MultiscaleBlock) else layout


def channels_first(output: Any, layout: Layout) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A layer's output as (N, C, h, w), of clips (N, C, t, h, w), whichever way the model keeps it, and what lies
    beside the cells: the token of the class. What has no such cells stays as it is."""
    if layout == "tokens":
        tokens, sides = output
        return tokens[:, 1:].transpose(1, 2).unflatten(2, sides), (tokens[:, :1],)
    return output.movedim(-1, 1) if layout == "NHWC" and output.ndim > 3 else output, ()


def as_in_model(z: Tensor, aside: tuple[Tensor, ...], layout: Layout) -> Any:
    """The way back from `channels_first`."""
    if layout == "tokens":
        return torch.cat([*aside, z.flatten(2).transpose(1, 2)], 1), tuple(z.shape[2:])
    return z.movedim(1, -1) if layout == "NHWC" and z.ndim > 3 else z


def read(model: nn.Module, layers: Sequence[str], images: Tensor, layout: Layout = "NCHW") -> dict[str, Tensor]:
    """The output (N, ...) of each module named in `layers`, LOGITS for the model's own; it is left as it was.

    What lies in `layout` comes back as (N, C, h, w) or (N, C, t, h, w). The pass ends at the last of them. Raises
    ValueError for an unknown layer and for one that is not run or gives no tensor.
    """
    modules = dict(model.named_modules())
    outputs: dict[str, Tensor] = {}

    def reader(name: str) -> object:
        own = layout_at(modules[name], layout)

        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) or own == "tokens":
                cells, _ = channels_first(output, own)
                outputs[name] = cells.clone()  # the next layer may be a ReLU that works in place
            if outputs.keys() == set(layers):
                raise _Stop

        return hook

    with ExitStack() as hooks:
        for name in layers:
            if name not in modules:
                raise ValueError(f"{type(model).__name__} has no layer {name!r}")
            hooks.callback(modules[name].register_forward_hook(reader(name)).remove)  # type: ignore[arg-type]
        with suppress(_Stop):
            model(images)
    for name in layers:
        if name not in outputs:
            raise ValueError(f"layer {name!r} gives no tensor in a forward pass")
    return outputs
