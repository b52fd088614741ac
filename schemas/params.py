"""Parameters: frozen dataclasses whose annotations say what their fields may hold."""

from dataclasses import field
from typing import Annotated, Final, TypeVar, cast, dataclass_transform

from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

T = TypeVar("T")

_CONFIG: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

#: of noise, weights and orders; 32 bits, so that every generator takes it, and the sums made of it
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def checked(kind: type[T]) -> type[T]:
    """Make `kind` a frozen dataclass that holds, however it is made, what its annotations allow: types and ranges.

    Nothing is converted but a whole number where a number is wanted; numbers are finite. Its constructor raises
    ValueError (pydantic's ValidationError).
    """
    return cast(type[T], dataclass(frozen=True, config=_CONFIG)(kind))
