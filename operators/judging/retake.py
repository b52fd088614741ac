"""Stored maps made again: for another class, and on changed models."""

import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from operators.judging.asker import Asker
from operators.judging.sample import Judged, Row, pixels_of
from operators.judging.totals import by_key
from operators.measures.grid import common, in_time, times
from operators.measures.sanity import similarity
from operators.methods.again import Again, with_own_statistics
from operators.methods.method import STATISTICS, Method
from operators.methods.ready import FilesOfLayer
from operators.models.running import to_input
from operators.models.weights import Detector


@dataclass(frozen=True)
class Retake:
    """Stored maps of one model's samples in a video, of clips with all of their time, to be made again."""

    row: Row
    detector: Detector
    asker: Asker
    maps: list[Judged]
    methods: tuple[Method, ...]

    def of_the_next_class(self, files: FilesOfLayer) -> list[Row]:
        """For the class that is the most probable one besides the target."""
        again = self._again(self.asker.model, files)
        rows = []
        for (frame, target), own in self._samples():
            image = self._image(frame)
            classes = self.detector.spec.classes
            ranked = self.asker.ask(lambda _, image=image: image, 1)[0].argsort()[::-1].tolist()
            other = next(each for each in ranked if each != classes.index(target))
            ids = {"test": "class", "place": classes[other], "seed": 0, "depth": 1.0}
            rows += self._rows(again, image, frame, other, own, ids)
        return rows

    def on(self, model: nn.Module, files: FilesOfLayer, ids: Row) -> list[Row]:
        """On another model, whose statistics are those of all of the video's inputs."""
        with tempfile.TemporaryDirectory() as folder:
            if any(STATISTICS in method.needs for method in self.methods):
                spec, layers = self.detector.spec, self.detector.layers
                frames = [each["frame"] for each in self.row["inputs"] if each["view"] == str(spec.view)]
                images = torch.cat([self._image(frame) for frame in frames])
                files = with_own_statistics(spec, model, layers, images, files, Path(folder))
            again = self._again(model, files)
            rows = []
            for (frame, target), own in self._samples():
                index = self.detector.spec.classes.index(target)
                rows += self._rows(again, self._image(frame), frame, index, own, ids)
        return rows

    def _again(self, model: nn.Module, files: FilesOfLayer) -> Again:
        # what a model was cut into refers to itself, so it stays until gc runs, and VGG11's has half a gigabyte
        gc.collect()
        return Again(self.detector.spec, model, self.detector.layers, self.methods, files)

    def _samples(self) -> list[tuple[tuple[int, str], list[Judged]]]:
        return list(by_key(self.maps, lambda each: (each.ids["first_frame"], each.ids["target"])).items())

    def _image(self, frame: int) -> Tensor:
        pixels = pixels_of(self.row, self.detector.spec.view, frame)
        assert pixels is not None, "a map without its input"
        return to_input(pixels[None], self.detector.spec, self.asker.device)

    def _rows(self, again: Again, image: Tensor, frame: int, target: int, own: list[Judged], ids: Row) -> list[Row]:
        shown = pixels_of(self.row, self.detector.spec.view.picture, frame)
        picture = None
        if shown is not None and self.detector.spec.view != self.detector.spec.view.picture:
            picture = torch.tensor(shown, device=image.device).permute(2, 0, 1)[None].float() / 255
        made = again.maps(image, target, picture)
        rows = []
        for each in own:
            found = made.get((each.ids["method"], each.ids["layer"]))
            if found is not None:
                names = {name: value for name, value in each.ids.items() if name != "variant"}
                cells = [common(cell) for cell in found.float().cpu().numpy()]
                alike = similarity(each.cells, in_time(cells, times(self.detector.spec.view.frames)))
                rows.append(names | ids | {"similarity": alike})
        return rows
