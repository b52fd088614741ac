"""What `judge` measures."""

from typing import Annotated, Final

from annotated_types import Ge, Le, MinLen

from operators.measures import adversarial
from operators.measures.faithfulness import ROAD_SHARES, SET_SIZES, Fill
from operators.measures.grid import CELLS
from schemas.methods import Variant
from schemas.params import Seed, checked

BLUR: Final = "blur"
#: random choices of segments that chance is the mean of
CHANCE_DRAWS: Final = 5


@checked
class JudgeParams:
    """What is measured, and how often a model is asked for it.

    `max_frames` of all explained ones, and of these `nes_frames`, are chosen by a hash of video and frame: whatever is
    compared saw the same ones. 0 of `sensitivity_sets` (per set size), `pgd_steps`, `nes_frames` or `sanity_frames`
    leaves a test out. In the last ones every method explains again: with the weights of a model permuted down to
    `sanity_depths` layers, `sanity_seeds` times, and for the next class.
    """

    max_frames: Annotated[int, Ge(1), Le(10_000_000)] = 64
    steps: Annotated[int, Ge(2), Le(CELLS)] = 20
    fills: Annotated[tuple[Fill, ...], MinLen(1)] = ("blur", "mean")
    variants: tuple[Variant, ...] = ("mean_map", "blur8", "blur16")
    road: bool = True
    sensitivity_sets: Annotated[int, Ge(0), Le(10_000)] = 32
    pgd_steps: Annotated[int, Ge(0), Le(1000)] = 20
    nes_frames: Annotated[int, Ge(0), Le(10_000_000)] = 0
    nes_steps: Annotated[int, Ge(1), Le(1000)] = 50
    sanity_frames: Annotated[int, Ge(0), Le(10_000)] = 4
    sanity_depths: Annotated[int, Ge(1), Le(100)] = 5
    sanity_seeds: Annotated[int, Ge(1), Le(100)] = 1
    seed: Seed = 0

    def passes(self, n_maps: int, nes: bool, still: bool = True) -> int:
        """How many inputs go through a model, at most, for one sample with `n_maps` maps, variants counted; of a clip,
        which is not `still`, for removal alone."""
        of_map = len(self.fills) * 2 * (self.steps - 1) + 2 * len(ROAD_SHARES) * (still and self.road)
        attack = self.pgd_steps + (adversarial.NES_PROBES * self.nes_steps if nes else 0) if still else 0
        attacks = n_maps * len(adversarial.TOP) + CHANCE_DRAWS
        return 1 + 2 * len(self.fills) + SET_SIZES * self.sensitivity_sets + n_maps * of_map + attacks * attack
