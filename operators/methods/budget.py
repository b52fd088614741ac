"""How often methods may ask the network for a map: their parameters, and presets of them."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from operators.methods.extremal import Extremal
from operators.methods.fep import Fep
from operators.methods.integrated_gradients import IntegratedGradients
from operators.methods.lime import Lime
from operators.methods.method import Method
from operators.methods.occlusion import Occlusion
from operators.methods.random import Random
from operators.methods.random_smooth import RandomSmooth
from operators.methods.rise import Rise
from operators.methods.smoothgrad import SmoothGrad
from schemas.params import checked


@checked
class Budget:
    """The methods besides the bottleneck that have parameters, by their names."""

    ig: IntegratedGradients = IntegratedGradients()
    smoothgrad: SmoothGrad = SmoothGrad()
    occlusion: Occlusion = Occlusion()
    rise: Rise = Rise()
    lime: Lime = Lime()
    extremal: Extremal = Extremal()
    fep: Fep = Fep()
    random: Random = Random()
    random_smooth: RandomSmooth = RandomSmooth()

    def __iter__(self) -> Iterator[Method]:
        return (getattr(self, each.name) for each in fields(self))


#: `paper` asks as often as the publications or their code do, `fast` what a processor can do in about a minute a map
BUDGETS: Final = {
    "fast": Budget(),
    "paper": Budget(
        ig=IntegratedGradients(steps=50),
        smoothgrad=SmoothGrad(draws=50),
        occlusion=Occlusion(window=0.125, positions=15),
        rise=Rise(masks=4000),
        lime=Lime(samples=1000),
        extremal=Extremal(steps=2000, lr=0.05, settled=0.0),
        fep=Fep(steps=2000, lr=0.05, settled=0.0),
    ),
}
DEFAULT_BUDGET: Final = "fast"
