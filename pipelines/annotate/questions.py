"""What people are asked, and by which names their answers are known."""

from typing import Final

from schemas.tables import FACE_REGIONS

#: region -> its name on the page and its letter in figure 2 of VIBA, in the order of the keys 1 to 6
NAMES: Final = {
    "mouth": ("Lips & mouth", "L"),
    "edges": ("Edges of the face", "E"),
    "brows": ("Brows, eyes & forehead", "B"),
    "nose": ("Nose, cheeks & ears", "N"),
    "outside": ("Outside of the face", "O"),
    "chin": ("Chin & neck", "C"),
}
NOTHING: Final = "nothing"
NOTHING_NAME: Final = "Nothing visible"
CONFIDENCE: Final = range(1, 6)

#: every spelling that is understood, in small letters -> region
_SPELLINGS: Final = {
    spelling.casefold(): region
    for region in FACE_REGIONS
    for spelling in (region, *NAMES[region], NAMES[region][0].replace("&", "and"))
} | {"deepfake edges": "edges"}


def region(text: str) -> str | None:
    """The region a person means by a word, a letter of figure 2 or the name on the page; None where nothing is visible.

    Raises ValueError for anything else.
    """
    spelling = text.strip().casefold()
    if spelling in (NOTHING, NOTHING_NAME.casefold()):
        return None
    if spelling not in _SPELLINGS:
        raise ValueError(f"no region {text.strip()!r}: use {', '.join(FACE_REGIONS)} or {NOTHING}")
    return _SPELLINGS[spelling]
