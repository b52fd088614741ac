"""A picture in 64 bits that stay nearly the same when it is compressed or scaled: who looks alike is a duplicate."""

from typing import Final

import cv2
import numpy as np

cv2.setNumThreads(1)

_SIDE_PX: Final = 32
_WAVES: Final = slice(1, 9)
#: deviation in grey levels below which a picture shows nothing that could be alike, but noise
_FLAT: Final = 2.0


def fingerprint(picture: np.ndarray) -> int | None:
    """The perceptual hash of a picture (H, W, 3) uint8 RGB: 64 bits as a number, None for one that is nearly flat.

    A grey 32x32 copy by area, its discrete cosine transform, of which the 8x8 slowest waves without the constant ones:
    each is a bit, set where it is above the median of them (pHash, Zauner 2010). Its size, compression and brightness
    change few bits; two pictures that have nothing to do with each other differ in 32 on average.
    """
    small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    if small.std() < _FLAT:
        return None
    waves = cv2.dct(small.astype(np.float32))[_WAVES, _WAVES].ravel()
    return sum(1 << place for place in np.flatnonzero(waves > np.median(waves)).tolist())
