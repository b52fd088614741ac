"""A fingerprint survives compression and size, and tells unrelated pictures apart."""

import cv2
import numpy as np
from scipy.fft import dctn

from operators.video.fingerprint import fingerprint


def picture(seed, height=240, width=320):
    noise = np.random.default_rng(seed).normal(128, 60, (12, 16, 3))
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def distance(a, b):
    return (fingerprint(a) ^ fingerprint(b)).bit_count()


def test_it_is_the_sign_of_the_slowest_waves_over_their_median():
    image = picture(0)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
    waves = dctn(small, type=2, norm="ortho")[1:9, 1:9].ravel()
    bits = fingerprint(image)
    assert [bits >> n & 1 for n in range(64)] == (waves > np.median(waves)).astype(int).tolist()
    assert bits.bit_count() == 32


def test_compression_size_and_brightness_change_few_bits():
    for seed in range(20):
        image = picture(seed)
        jpeg = cv2.imdecode(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 25])[1], 1)[..., ::-1]
        small = cv2.resize(image, (107, 80), interpolation=cv2.INTER_AREA)
        darker = (image * 0.7).astype(np.uint8)
        assert max(distance(image, np.ascontiguousarray(each)) for each in (jpeg, small, darker)) <= 4


def test_unrelated_pictures_differ_in_half_of_the_bits():
    apart = [distance(picture(seed), picture(seed + 100)) for seed in range(100)]
    assert abs(np.mean(apart) - 32) < 1.5
    assert min(apart) > 12


def test_a_flat_picture_has_none():
    assert fingerprint(np.full((48, 64, 3), 17, np.uint8)) is None
    assert fingerprint(np.random.default_rng(0).integers(16, 19, (480, 640, 3), dtype=np.uint8)) is None
