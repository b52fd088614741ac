"""How a map is made: METHODS is the list of all ways; a new one is a file here and a line in it."""

from typing import Final

from operators.methods.gradcam import GradCam
from operators.methods.iba import Iba, ReadoutIba
from operators.methods.method import Method

METHODS: Final[dict[str, type[Method]]] = {each.name: each for each in (Iba, ReadoutIba, GradCam)}
