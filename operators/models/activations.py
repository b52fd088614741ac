"""What chosen layers of a model give in one plain forward pass."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Final, Literal

from torch import Tensor, nn

#: the name of the model itself among its modules: its output are the logits
LOGITS: Final = ""


class _Stop(Exception):
    """Ends a forward pass when everything is read: nothing above is needed."""


Layout = Literal["NCHW", "NHWC"]


def channels_first(output: Tensor, layout: Layout) -> Tensor:
    """A layer's output as (N, C, h, w), whichever way the model keeps it; what has not four dimensions as it is."""
    return output.permute(0, 3, 1, 2) if layout == "NHWC" and output.ndim == 4 else output


def as_in_model(z: Tensor, layout: Layout) -> Tensor:
    """The way back from `channels_first`."""
    return z.permute(0, 2, 3, 1) if layout == "NHWC" and z.ndim == 4 else z


def read(model: nn.Module, layers: Sequence[str], images: Tensor, layout: Layout = "NCHW") -> dict[str, Tensor]:
    """The output (N, ...) of each module named in `layers`, LOGITS for the model's own; it is left as it was.

    What lies in `layout` comes back as (N, C, h, w). The pass ends at the last of them. Raises ValueError for an
    unknown layer and for one that is not run or gives no tensor.
    """
    modules = dict(model.named_modules())
    outputs: dict[str, Tensor] = {}

    def reader(name: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                outputs[name] = channels_first(
                    output, layout
                ).clone()  # the next layer may be a ReLU that works in place
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
