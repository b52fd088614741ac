"""How a map is made: METHODS is the list of all ways; a new one is a file here and a line in it."""

from typing import Final

from operators.methods.centre import Centre
from operators.methods.edges import Edges
from operators.methods.extremal import Extremal
from operators.methods.face import Face
from operators.methods.fep import Fep
from operators.methods.gradcam import GradCam
from operators.methods.gradcampp import GradCamPlusPlus
from operators.methods.iba import Iba, ReadoutIba
from operators.methods.integrated_gradients import IntegratedGradients
from operators.methods.lime import Lime
from operators.methods.method import Method
from operators.methods.occlusion import Occlusion
from operators.methods.random import Random
from operators.methods.random_smooth import RandomSmooth
from operators.methods.rise import Rise
from operators.methods.smoothgrad import SmoothGrad

#: what a map must beat to say anything
CONTROLS: Final[tuple[type[Method], ...]] = (Random, RandomSmooth, Edges, Centre, Face)
METHODS: Final[dict[str, type[Method]]] = {
    each.name: each
    for each in (
        *(Iba, ReadoutIba, GradCam, GradCamPlusPlus, IntegratedGradients, SmoothGrad, Occlusion, Rise, Lime),
        *(Extremal, Fep),
        *CONTROLS,
    )
}
