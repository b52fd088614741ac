"""The one exception that stands for a bad sample, and the codes that end up in the tables."""

from typing import Final

#: code -> what it means to the person who reads `videos.error_code`. Codes are stable: queries group by them.
ERROR_CODES: Final[dict[str, str]] = {
    "not_found": "no file at this uri, or no permission to read it",
    "empty_file": "the file has no bytes",
    "too_large": "the file is larger than what is fetched from a store to disk (limits.fetch_mb)",
    "read_failed": "the storage failed while the file was read",
    "not_a_video": "no container or picture format was recognised",
    "no_video_stream": "a container without a stream that holds pictures",
    "no_frames": "a video stream that gives not one frame",
    "decode_timeout": "decoding was stopped at the time limit",
    "decode_memory": "decoding was stopped at the memory limit",
    "decode_crash": "the decoding process died",
    "no_face": "too few frames with a face to make a forgery of",
    "size_changes": "the pictures change their size within the video, so it cannot be written as one",
    "truth_unreadable": "the video of the forged region (truth_uri) is not there or cannot be decoded",
    "truth_mismatch": "the video of the forged region (truth_uri) has another size or fewer frames than its video",
    "changed": "the file is no longer the one whose keyframes and faces are known",
    "no_flow": "every detector wants flow, and no keyframe that something was cut from has a next frame",
    "too_short": "every detector wants clips, and the video, or what is left of it after its keyframes, is shorter",
    "no_target": "none of the classes that are asked about is one of the models that have an input of it",
    "out_of_memory": "one sample of it does not fit into the memory of the processor or GPU that explains it",
    "explain_failed": "the model or the attribution gave values that are not finite",
}

#: what may go well another time, when the machine or the storage does: `explain --retry-errors`
TRANSIENT: Final = frozenset(
    {"not_found", "read_failed", "decode_timeout", "decode_memory", "decode_crash", "truth_unreadable", "out_of_memory"}
)
#: of these the ones that are cheap enough to be tried again at once
TRIED_TWICE: Final = frozenset({"read_failed", "decode_crash"})


class SampleError(Exception):
    """One sample cannot be processed. Caught per row and written to the tables; anything else is a crash.

    `code` must be a key of ERROR_CODES, `detail` is one line for a person.
    """

    def __init__(self, code: str, detail: str) -> None:
        if code not in ERROR_CODES:
            raise ValueError(f"unknown error code {code!r}")
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[type["SampleError"], tuple[str, str]]:
        return type(self), (self.code, self.detail)
