"""Concept activation vectors and how a class depends on them (Kim et al. 2018; for clips Saha et al. 2024)."""

from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from schemas.params import Seed, checked

Matrix = npt.NDArray[np.float32]

#: random sets that each random set stands against, to be what a concept is that means nothing
_OTHERS: Final = 3
#: of the clips of each side so many are held out
_HELD_OUT: Final = 1 / 3


@checked
class CavParams:
    """How vectors are learned.

    `classifier` is a ridge regression of -1 and 1 with an intercept, `ridge` over the mean square of the activations,
    or the difference of the two means. `sets` random sets are drawn, of as many clips as the concept has.
    """

    classifier: Literal["ridge", "means"] = "ridge"
    ridge: Annotated[float, Gt(0), Le(1_000_000)] = 1.0
    sets: Annotated[int, Ge(10), Le(1000)] = 30
    seed: Seed = 0


@dataclass(frozen=True)
class Cav:
    """A unit vector (d,) towards the concept, and the share of held-out clips that it tells apart, classes balanced."""

    vector: Matrix
    accuracy: float
    n_train: int
    n_test: int


def learn(concept: Matrix, other: Matrix, params: CavParams, rng: np.random.Generator) -> Cav:
    """The vector that tells activations `concept` (n, d) from `other` (m, d); a third of both is held out.

    Raises ValueError for fewer than three of one side.
    """
    if min(len(concept), len(other)) < 3:
        raise ValueError(
            f"{min(len(concept), len(other))} clips are too few to learn from and to try on: three at least"
        )
    sides = [rng.permutation(each) for each in (concept, other)]
    held = [max(round(len(each) * _HELD_OUT), 1) for each in sides]
    train = [each[n:].astype(np.float64) for each, n in zip(sides, held, strict=True)]
    vector, threshold = direction(train[0], train[1], params)
    found = [each[:n] @ vector - threshold for each, n in zip(sides, held, strict=True)]
    # what lies on the boundary is half right
    right = [
        float(np.mean((sign * values > 0) + 0.5 * (values == 0))) for sign, values in zip((1, -1), found, strict=True)
    ]
    return Cav(vector.astype(np.float32), float(np.mean(right)), sum(map(len, train)), sum(held))


def direction(concept: np.ndarray, other: np.ndarray, params: CavParams) -> tuple[np.ndarray, float]:
    """(d,) float64 of length 1, from `other` to `concept`, and where along it the boundary lies."""
    middle = (concept.mean(0) + other.mean(0)) / 2
    if params.classifier == "means":
        vector = concept.mean(0) - other.mean(0)
    else:
        x = np.concatenate([concept, other])
        y = np.concatenate([np.full(len(concept), 1 / len(concept)), np.full(len(other), -1 / len(other))]) * len(x) / 2
        centred = x - x.mean(0)
        gram = centred @ centred.T  # as many rows as clips: activations have thousands of columns
        scale = params.ridge * max(np.trace(gram) / len(x), 1e-12)
        vector = centred.T @ np.linalg.solve(gram + scale * np.eye(len(x)), y - y.mean())
    length = np.linalg.norm(vector)
    vector = vector / length if length > 0 else vector
    return vector, float(middle @ vector)


def score(vector: Matrix, gradients: Matrix) -> tuple[float, float]:
    """Of the class logit's gradients (n, d) at the layer: the share that points along the vector, ties by half, and the
    mean derivative along it over the gradients' mean length."""
    along = gradients.astype(np.float64) @ vector
    length = float(np.linalg.norm(gradients.astype(np.float64), axis=1).mean())
    share = float(np.mean((along > 0) + 0.5 * (along == 0)))
    return share, float(along.mean() / length) if length > 0 else 0.0


def random_set(pool: Matrix, n: int, params: CavParams, number: int) -> Matrix:
    """The random set `number`: n clips of the pool, the same for every concept and layer."""
    rng = np.random.default_rng([params.seed, number])
    return pool[np.sort(rng.choice(len(pool), min(n, len(pool)), replace=False))]


@dataclass(frozen=True)
class Tried:
    """One vector and what the class says along it; `against` is the concept on its other side, empty for random clips.

    Of `concept` empty a random set is taken for a concept, which is what chance scores: means over three others.
    """

    concept: str
    against: str
    random_set: int
    accuracy: float
    n_train: int
    n_test: int
    share: float
    magnitude: float


def try_all(
    concepts: dict[str, Matrix], pool: Matrix, gradients: Matrix, pairs: list[tuple[str, str]], params: CavParams
) -> list[Tried]:
    """Each of `concepts` (n, d) against every random set, each of `pairs` against one another on halves that the set's
    number draws, and every random set, as if it were a concept, against others. All at one layer."""
    n = min(map(len, concepts.values())) if concepts else len(pool)

    def trial(concept: str, against: str, number: int, own: Matrix, other: Matrix, draw: int = 0) -> Tried:
        cav = learn(own, other, params, np.random.default_rng([params.seed, number, draw, 1]))
        return Tried(concept, against, number, cav.accuracy, cav.n_train, cav.n_test, *score(cav.vector, gradients))

    found = []
    for number in range(params.sets):
        for name, clips in concepts.items():
            found.append(trial(name, "", number, clips, random_set(pool, len(clips), params, number)))
        for one, other in pairs:
            rng = np.random.default_rng([params.seed, number, 2])
            first, second = (_half(concepts[each], rng) for each in (one, other))
            found.append(trial(one, other, number, first, second))
        own = random_set(pool, n, params, number)
        others = [random_set(pool, n, params, params.sets + _OTHERS * number + draw) for draw in range(_OTHERS)]
        tried = [trial("", "", number, own, other, draw) for draw, other in enumerate(others)]
        means = {name: float(np.mean([getattr(each, name) for each in tried])) for name in _FIGURES}
        found.append(replace(tried[0], **means))
    return found


_FIGURES: Final = ("accuracy", "share", "magnitude")


def _half(clips: Matrix, rng: np.random.Generator) -> Matrix:
    return clips[np.sort(rng.choice(len(clips), max((len(clips) + 1) // 2, min(3, len(clips))), replace=False))]
