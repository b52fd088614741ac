"""The names of ImageNet's classes."""

from collections import Counter
from typing import Final

from timm.data.imagenet_info import ImageNetInfo

IMAGENET: Final = "imagenet"


def imagenet_classes() -> tuple[str, ...]:
    """1000 names in the order of a classifier's outputs, of which no two are equal, whatever the case: "tabby".

    A class is a WordNet synset; its name is the first of the synset's words, as timm has them. Six share theirs with
    another ("crane", a bird and a machine; "maillot" twice; "Cardigan", a dog and a garment): those have the synset's
    id after it, which is what tells classes apart in ImageNet: "crane n02012849".
    """
    known = ImageNetInfo()
    first = [words.split(", ")[0] for words in known.label_descriptions()]
    times = Counter(map(str.lower, first))
    return tuple(
        name if times[name.lower()] == 1 else f"{name} {synset}"
        for name, synset in zip(first, known.label_names(), strict=True)
    )
