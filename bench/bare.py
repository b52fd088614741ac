"""Lets the operators be imported on a machine that has torch, numpy and pyarrow and little else, as a lent GPU's.

Import it first. A package that is not installed can then be imported and its names used in definitions; to call one
for its result is an error that names it. Parameters are not checked where pydantic is missing.
"""

import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

#: what the operators import besides
_PACKAGES = frozenset(
    {"annotated_types", "av", "captum", "cv2", "dlib", "huggingface_hub", "pydantic", "ray", "safetensors", "scipy"}
    | {"skimage", "timm", "torchvision"}
)


class _Name:
    """Stands for a function or class of a package that is not there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> "_Name":
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(f"{self._name}.{name}")

    def __call__(self, *_: Any, **__: Any) -> "_Name":
        return self

    def __or__(self, _: object) -> "_Name":
        return self

    def __ror__(self, _: object) -> "_Name":
        return self

    def __index__(self) -> int:
        raise ModuleNotFoundError(f"{self._name} is asked for, which is not installed here")

    __iter__ = __len__ = __float__ = __bool__ = __enter__ = __index__  # type: ignore[assignment]


class _Package(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if (self.__name__, name) == ("pydantic.dataclasses", "dataclass"):
            return _dataclass
        return _Name(f"{self.__name__}.{name}")


def _dataclass(*, frozen: bool, config: object) -> Callable[[type], type]:
    return dataclasses.dataclass(frozen=frozen)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: whatever it is asked for is not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in _PACKAGES:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        package = _Package(spec.name)
        package.__path__ = []
        return package

    def exec_module(self, module: types.ModuleType) -> None:
        pass


sys.meta_path.append(_Finder())
