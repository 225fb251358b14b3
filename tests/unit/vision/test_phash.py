"""Near-duplicates are near, other pictures are far."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from espalier.vision.image import read_image
from espalier.vision.phash import difference_hash, hamming, is_flat


def scene(seed: int) -> np.ndarray:
    rough = np.random.default_rng(seed).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(rough, (320, 240), interpolation=cv2.INTER_CUBIC))


def test_scaled_and_recompressed_copies_are_near_and_others_far() -> None:
    image_HWC = scene(0)
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).resize((200, 150)).save(buffer, "JPEG", quality=60)
    copy, brighter = read_image(buffer.getvalue()), (image_HWC * 0.8 + 30).astype(np.uint8)
    own = difference_hash(image_HWC)
    assert hamming(own, difference_hash(copy)) <= 4
    assert hamming(own, difference_hash(brighter)) <= 4
    others = np.array([difference_hash(scene(seed)) for seed in range(1, 40)])
    assert hamming(own, others).min() > 10


def test_depth_and_channels_do_not_matter() -> None:
    grey = scene(1)[:, :, :1]
    assert hamming(difference_hash(grey), difference_hash(grey.astype(np.uint16) * 257)) == 0
    assert difference_hash(np.repeat(grey, 6, axis=2)).dtype == np.uint64


def test_hamming_counts_bits() -> None:
    a = np.array([0, 0b1011, 2**64 - 1], np.uint64)
    np.testing.assert_array_equal(hamming(a, np.uint64(0)), [0, 3, 64])
    np.testing.assert_array_equal(hamming(a[:, None], a[None]).diagonal(), 0)


def test_a_blank_page_is_flat() -> None:
    assert is_flat(np.full((50, 40, 3), 255, np.uint8))
    assert not is_flat(scene(2))
