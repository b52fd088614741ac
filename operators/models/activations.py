"""What chosen layers of a model give in one plain forward pass."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Final

from torch import Tensor, nn

#: the name of the model itself among its modules: its output are the logits
LOGITS: Final = ""


class _Stop(Exception):
    """Ends a forward pass when everything is read: nothing above is needed."""


def read(model: nn.Module, layers: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """The output (N, ...) of each module named in `layers`, LOGITS for the model's own; it is left as it was.

    The pass ends at the last of them. Raises ValueError for an unknown layer and for one that is not run or gives no
    tensor.
    """
    modules = dict(model.named_modules())
    outputs: dict[str, Tensor] = {}

    def reader(name: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                outputs[name] = output.clone()  # the next layer may be a ReLU that works in place
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
