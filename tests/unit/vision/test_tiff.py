"""TIFFs of many bands, in every layout that is read, written here by the specification."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from espalier.errors import ImageError
from espalier.vision.image import probe, read_image


def scene(bands: int = 5, dtype: Any = np.uint16) -> NDArray[Any]:
    rng = np.random.default_rng(bands)
    return rng.integers(0, np.iinfo(dtype).max, (21, 18, bands), dtype=dtype, endpoint=True)


def packed(block: bytes, packing: int) -> bytes:
    if packing == 8:
        return zlib.compress(block)
    if packing == 1:
        return block
    buffer = io.BytesIO()  # Pillow packs it as a grey picture of one strip
    name = {5: "tiff_lzw", 32773: "packbits"}[packing]
    picture = Image.frombytes("L", (len(block), 1), block)
    picture.save(buffer, "TIFF", compression=name)
    with Image.open(buffer) as saved:
        tags = saved.tag_v2  # type: ignore[attr-defined]
        return buffer.getvalue()[tags[273][0] : tags[273][0] + tags[279][0]]


def tiff(
    image_HWC: NDArray[Any], *, order: str = "<", packing: int = 1, planes: bool = False, differences: bool = False,
    block_hw: tuple[int, int] | None = None, big: bool = False, extra: tuple[int, ...] = (), orientation: int = 1,
) -> bytes:  # fmt: skip
    """The picture as a TIFF: strips of seven rows, or tiles of `block_hw`."""
    height, width, bands = image_HWC.shape
    rows, columns = block_hw or (7, width)
    blocks = []
    for band in [slice(c, c + 1) for c in range(bands)] if planes else [slice(None)]:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                part = image_HWC[top : top + rows, left : left + columns, band]
                if block_hw:
                    part = np.pad(part, ((0, rows - part.shape[0]), (0, columns - part.shape[1]), (0, 0)))
                if differences:
                    part = np.concatenate([part[:, :1], np.diff(part, axis=1)], axis=1)
                blocks.append(packed(part.astype(part.dtype.newbyteorder(order)).tobytes(), packing))
    word = "Q" if big else "I"
    header = 16 if big else 8
    offsets = np.cumsum([header, *map(len, blocks)])
    tags: list[tuple[int, str, Any]] = [
        (256, "H", [width]), (257, "H", [height]), (258, "H", [image_HWC.itemsize * 8] * bands), (259, "H", [packing]),
        (262, "H", [1]), (274, "H", [orientation]), (277, "H", [bands]), (284, "H", [2 if planes else 1]),
        (317, "H", [2 if differences else 1]), (338, "H", extra or [0] * (bands - 1)), (339, "H", [1] * bands),
    ]  # fmt: skip
    where = [(322, "H", [columns]), (323, "H", [rows]), (324, word, offsets[:-1]), (325, word, map(len, blocks))]
    strips = [(273, word, offsets[:-1]), (278, "H", [rows]), (279, word, map(len, blocks))]
    tags = sorted(tags + (where if block_hw else strips))
    start = int(offsets[-1])
    after = start + (8 if big else 2) + len(tags) * (20 if big else 12) + (8 if big else 4)
    directory, far = struct.pack(order + ("Q" if big else "H"), len(tags)), b""
    for tag, kind, values in tags:
        numbers = [int(v) for v in values]
        data = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        near = data.ljust(8 if big else 4, b"\0")
        if len(data) > (8 if big else 4):
            near, far = struct.pack(order + word, after + len(far)), far + data
        code = {"H": 3, "I": 4, "Q": 16}[kind]
        directory += struct.pack(f"{order}HH{word}", tag, code, len(numbers)) + near
    mark = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head = mark + (struct.pack(order + "HH", 8, 0) if big else b"") + struct.pack(order + word, start)
    return head + b"".join(blocks) + directory + bytes(8 if big else 4) + far


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [2, 3, 4, 5, 13])
@pytest.mark.parametrize(
    "layout",
    [
        {}, {"order": ">"}, {"planes": True}, {"packing": 8, "differences": True}, {"packing": 5}, {"packing": 32773},
        {"packing": 5, "differences": True, "order": ">"}, {"block_hw": (16, 16)}, {"big": True},
        {"block_hw": (16, 16), "planes": True, "packing": 8, "differences": True, "big": True, "order": ">"},
    ],
)  # fmt: skip
def test_every_layout_is_read(layout: dict[str, Any], bands: int, dtype: Any) -> None:
    image_HWC = scene(bands, dtype)
    data = tiff(image_HWC, **layout)
    info = probe(data)
    assert (info.size_hw, info.bands, info.bits) == ((21, 18), bands, image_HWC.itemsize * 8)
    np.testing.assert_array_equal(read_image(data, channels="bands"), image_HWC)


def test_rotation_and_refusals() -> None:
    turned = read_image(tiff(scene(), orientation=6), channels="bands")
    np.testing.assert_array_equal(turned, np.rot90(scene(), -1))
    assert probe(tiff(scene(), orientation=6)).size_hw == (18, 21)
    with pytest.raises(ImageError, match=r"network\.input\.bands=5"):
        read_image(tiff(scene()))
    with pytest.raises(ImageError, match="at most 99 pixels"):
        read_image(tiff(scene()), channels="bands", max_pixels=99)
    with pytest.raises(ImageError, match="truncated"):
        read_image(tiff(scene(), packing=8).replace(zlib.compress(scene()[14:].tobytes()), b""), channels="bands")
    assert read_image(tiff(scene(2, np.uint8), extra=(2,)), channels="auto").shape[2] == 2


FILES = [tiff(scene()), tiff(scene(), packing=8, big=True), tiff(scene(), packing=5, block_hw=(16, 16), order=">")]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    file=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 255)), max_size=8),
    keep=st.floats(0.3, 1),
)
def test_any_damage_is_a_picture_or_an_image_error(file: bytes, changes: list[tuple[float, int]], keep: float) -> None:
    damaged = bytearray(file)
    for place, value in changes:  # the directory lies at the end
        damaged[-1 - int(place * len(damaged))] = value
    damaged = damaged[len(damaged) - int(len(damaged) * keep) :] if keep < 0.5 else damaged
    for look in (probe, lambda data: read_image(data, channels="bands")):
        with contextlib.suppress(ImageError):
            look(bytes(file[:8] + damaged[8:]))  # type: ignore[operator]
