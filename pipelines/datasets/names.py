"""What the names of videos say: who is in them, and which genuine video a forgery was made from."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """`identities` as name:id, the person or source video that is seen first; `original`: stem of the genuine video."""

    identities: tuple[str, ...]
    original: str | None = None


def faceforensics(stem: str) -> Name | None:
    """000 is a genuine video; 000_003 is the video 000 with the face (or expression) of 003."""
    if match := re.fullmatch(r"(\d{3})(?:_(\d{3}))?", stem):
        target, source = match.groups()
        return Name((f"ff:{target}",)) if source is None else Name((f"ff:{target}", f"ff:{source}"), target)
    return None


def dfd(stem: str) -> Name | None:
    """01__scene is actor 01; 01_02__scene__HASH is 01__scene with the face of actor 02."""
    if match := re.fullmatch(r"(\d{2})(?:_(\d{2}))?__(.+)", stem):
        target, source, scene = match.groups()
        if source is None:
            return Name((f"dfd:{target}",))
        return Name((f"dfd:{target}", f"dfd:{source}"), f"{target}__{scene.rsplit('__', 1)[0]}")
    return None


def celeb(stem: str) -> Name | None:
    """id0_0000 is person 0; id0_id1_0000 is id0_0000 with the face of person 1; 00170 is one more unnamed person."""
    if match := re.fullmatch(r"(id\d+)(?:_(id\d+))?_(\d+)", stem):
        target, source, number = match.groups()
        if source is None:
            return Name((f"celeb:{target}",))
        return Name((f"celeb:{target}", f"celeb:{source}"), f"{target}_{number}")
    return Name((f"celeb:youtube-{stem}",)) if re.fullmatch(r"\d+", stem) else None


def deeperforensics(stem: str) -> Name | None:
    """000_M004 is FaceForensics++'s video 000 with the face of actor M004; M004_light_... is a recording of M004."""
    if match := re.fullmatch(r"(\d{3})_([MW]\d{3})", stem):
        return Name((f"ff:{match[1]}", f"deeper:{match[2]}"), match[1])
    if match := re.match(r"([MW]\d{3})_", stem):
        return Name((f"deeper:{match[1]}",))
    return None


def voxceleb(text: str) -> tuple[str, ...]:
    """The persons of VoxCeleb2 named anywhere in `text`, each once: id00076."""
    return tuple(dict.fromkeys(f"vox:{person}" for person in re.findall(r"(?<![A-Za-z0-9])id\d{5}(?!\d)", text)))
