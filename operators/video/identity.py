"""Who a video is: an id from its name and content, the same on every machine."""

import hashlib
import os
import urllib.parse

from operators.video.decode import open_uri
from schemas.errors import SampleError

_BLOCK_BYTES = 64 * 1024
_BLOCKS = 16
#: stores whose ETag follows from what was written, and from nothing that is changed later
_WITH_DIGESTS = ("s3://", "s3a://")


def video_id(uri: str, manipulation: str | None = None) -> str:
    """16 hexadecimal digits from the file's name, its manipulation and its content, wherever it lies.

    Files up to 1 MiB are hashed whole; of larger ones the size and 16 blocks of 64 KiB spread evenly from the first
    byte to the last. Of an object on S3 it is the size and the store's own digest (ETag): the same for whoever reads
    the bucket, and another one when the object was written with other content, but not that of a file on disk with the
    same content. A file that cannot be read has its name and manipulation alone.
    """
    return video_id_of(uri, manipulation, read_blocks(uri))


def video_id_of(uri: str, manipulation: str | None, blocks: bytes | None) -> str:
    """As `video_id`, from what `read_blocks` gave."""
    name = urllib.parse.unquote_to_bytes(uri) if uri.startswith("file://") else os.fsencode(uri)
    digest = hashlib.sha256(name.rsplit(b"/", 1)[-1] + b"\0")
    if manipulation is not None:  # names repeat from one forgery method to the next
        digest.update(os.fsencode(manipulation) + b"\0")
    digest.update(b"unreadable" if blocks is None else blocks)
    return digest.hexdigest()[:16]


def read_blocks(uri: str) -> bytes | None:
    """What is hashed of a file: its size, and its blocks or its store's digest of it; None where it cannot be read."""
    if uri.lower().startswith(_WITH_DIGESTS):
        from operators.storage.remote import digest  # here, because local files do without

        return digest(uri)  # one request in place of seventeen
    try:
        with open_uri(uri) as file:
            size = file.seek(0, os.SEEK_END)
            last = max(size - _BLOCK_BYTES, 0)
            starts = range(0, size, _BLOCK_BYTES)
            if len(starts) > _BLOCKS:
                starts = [last * i // (_BLOCKS - 1) for i in range(_BLOCKS)]
            blocks = [str(size).encode()]
            for start in starts:
                file.seek(start)
                blocks.append(file.read(_BLOCK_BYTES))
    except (SampleError, OSError):
        return None
    return b"".join(blocks)
