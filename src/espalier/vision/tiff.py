"""TIFFs whose samples are bands, as cameras with many bands and GDAL write them; Pillow and OpenCV read at most four.

By the TIFF 6.0 specification (and its BigTIFF form): strips or tiles, samples side by side or in planes, 8 or 16 bit,
raw, deflate or whatever packing Pillow's libtiff undoes without loss, with or without horizontal differences.
"""

from __future__ import annotations

import importlib
import io
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from espalier.errors import ImageError, Problem

_MARKS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_WIDTH, _HEIGHT, _BITS, _PACKING, _COLOURS, _OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _SIZES, _PLANES, _DIFFERENCES = (
    256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317
)  # fmt: skip
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES, _EXTRA, _KIND = 322, 323, 324, 325, 338, 339
_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
_MOST_VALUES, _MOST_BLOCKS, _FREE_BLOCK_BYTES = 1 << 22, 1 << 20, 64 << 20
_RAW, _DEFLATE = 1, (8, 32946)
_LOSSLESS = {5: "LZW", 32773: "PackBits", 50000: "Zstandard", 34925: "LZMA"}


@dataclass(frozen=True)
class BandTiff:
    """The layout of a picture's samples in the file. A block is a strip or a tile, of one band when `by_planes`."""

    size_hw: tuple[int, int]
    bands: int
    bits: int
    orientation: int
    byte_order: str
    packing: int
    differences: bool
    by_planes: bool
    block_hw: tuple[int, int]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def band_tiff(file: IO[bytes]) -> BandTiff | None:
    """The layout, when the file is a TIFF whose samples are bands rather than colours; None for any other file.

    Bands are more than four samples, or several samples of a grey picture of which none is called alpha.
    Raises ImageError for bands that are neither 8 nor 16 bit whole numbers.
    """
    file.seek(0)
    order = _MARKS.get(file.read(4))
    if order is None:
        return None
    tags = _tags(file, order)
    samples = _one(tags, _SAMPLES, 1)
    grey_and_alpha = samples == 2 and _one(tags, _EXTRA, 0) in (1, 2)
    grey = _one(tags, _COLOURS, 1) in (0, 1)
    if samples <= 4 and not (grey and samples > 1 and not grey_and_alpha):
        return None
    return _layout(tags, order, samples)


def read_bands(file: IO[bytes], layout: BandTiff) -> NDArray[Any]:
    """The samples, HWC, not yet turned. Raises ImageError when blocks are missing or damaged."""
    height, width = layout.size_hw
    dtype = np.dtype(f"u{layout.bits // 8}")
    image_HWC = np.zeros((height, width, layout.bands), dtype)
    for number, (top, left, band) in enumerate(_places(layout)):
        offset, size = layout.offsets[number], layout.sizes[number]
        if size == 0:
            continue  # GDAL leaves out blocks of zeros
        file.seek(offset)
        block = _block(file.read(size), layout, dtype)
        part = image_HWC[top : top + layout.block_hw[0], left : left + layout.block_hw[1], band]
        if block.shape[0] < part.shape[0]:
            raise ImageError("the file is truncated")
        part[...] = block[: part.shape[0], : part.shape[1]]
    return image_HWC


# ---- the directory -----------------------------------------------------------------------------------------------


def _tags(file: IO[bytes], order: str) -> Mapping[int, NDArray[Any]]:
    """The whole-number values of the first directory."""
    file.seek(2)
    big = struct.unpack(order + "H", file.read(2))[0] == 43
    if big:
        file.read(4)
    word, entry = ("Q", "HHQ8s") if big else ("I", "HHI4s")
    file.seek(struct.unpack(order + word, file.read(8 if big else 4))[0])
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    size = struct.calcsize(order + entry)
    directory = file.read(size * min(count, 4096))
    found = {}
    for tag, kind, length, value in struct.iter_unpack(order + entry, directory[: len(directory) // size * size]):
        if kind in _TYPES and 0 < length <= _MOST_VALUES:
            found[tag] = _values(file, np.dtype(order + _TYPES[kind]), length, value, order + word)
    return found


def _values(file: IO[bytes], dtype: np.dtype[Any], length: int, value: bytes, word: str) -> NDArray[Any]:
    data = value
    if dtype.itemsize * length > len(value):
        file.seek(struct.unpack(word, value)[0])
        data = file.read(dtype.itemsize * length)
    return np.frombuffer(data, dtype, length)


def _one(tags: Mapping[int, NDArray[Any]], tag: int, default: int) -> int:
    return int(tags[tag][0]) if tag in tags else default


def _layout(tags: Mapping[int, NDArray[Any]], order: str, samples: int) -> BandTiff:
    height, width = _one(tags, _HEIGHT, 0), _one(tags, _WIDTH, 0)
    bits = {int(value) for value in tags.get(_BITS, np.array([1]))}
    kinds = {int(value) for value in tags.get(_KIND, np.array([1]))}
    if bits not in ({8}, {16}) or kinds != {1}:
        raise ImageError(Problem("", "its bands are no whole numbers of 8 or 16 bit", fix="save it with 8 or 16 bit"))
    tiled = _TILE_WIDTH in tags
    block_hw = (_one(tags, _TILE_HEIGHT, 0), _one(tags, _TILE_WIDTH, 0)) if tiled else (
        min(_one(tags, _ROWS, height), height), width)  # fmt: skip
    layout = BandTiff(
        (height, width), samples, bits.pop(), _one(tags, _ORIENTATION, 1), order, _one(tags, _PACKING, _RAW),
        _one(tags, _DIFFERENCES, 1) == 2, _one(tags, _PLANES, 1) == 2, block_hw,
        tuple(tags.get(_TILE_OFFSETS if tiled else _OFFSETS, np.zeros(0, np.int64)).tolist()),
        tuple(tags.get(_TILE_SIZES if tiled else _SIZES, np.zeros(0, np.int64)).tolist()),
    )  # fmt: skip
    _check(layout, _one(tags, _DIFFERENCES, 1))
    return layout


def _check(layout: BandTiff, differences: int) -> None:
    rows, columns = layout.block_hw
    if min(*layout.size_hw, rows, columns) < 1:
        raise ImageError("its directory gives a size of 0 px")
    if layout.packing not in (_RAW, *_DEFLATE, *_LOSSLESS) or differences > 2:
        raise ImageError(Problem("", f"its packing ({layout.packing}, predictor {differences}) is not read here",
                                 "raw, deflate, LZW, PackBits, LZMA or Zstandard"))  # fmt: skip
    blocks = math.ceil(layout.size_hw[0] / rows) * math.ceil(layout.size_hw[1] / columns)
    blocks *= layout.bands if layout.by_planes else 1
    if blocks > min(len(layout.offsets), len(layout.sizes)):
        raise ImageError("its directory names fewer blocks than the picture has")
    allowed = _FREE_BLOCK_BYTES + layout.size_hw[0] * layout.size_hw[1] * layout.bands
    if blocks > _MOST_BLOCKS or rows * columns * layout.bands > allowed:
        raise ImageError("its blocks are too many or too large to be a picture's")


def _places(layout: BandTiff) -> Iterator[tuple[int, int, slice]]:
    """Top, left and bands of each block, in the file's order."""
    rows, columns = layout.block_hw
    planes = [slice(c, c + 1) for c in range(layout.bands)] if layout.by_planes else [slice(0, layout.bands)]
    for plane in planes:
        for top in range(0, layout.size_hw[0], rows):
            for left in range(0, layout.size_hw[1], columns):
                yield top, left, plane


# ---- one block ---------------------------------------------------------------------------------------------------


def _block(data: bytes, layout: BandTiff, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The block's samples (rows, columns, bands); the last strip may have fewer rows."""
    columns, bands = layout.block_hw[1], 1 if layout.by_planes else layout.bands
    row_bytes = columns * bands * dtype.itemsize
    unpacked = _unpacked(data, layout, row_bytes)
    rows = len(unpacked) // row_bytes
    samples = np.frombuffer(unpacked, np.dtype(f"{layout.byte_order}u{dtype.itemsize}"), rows * columns * bands)
    block = samples.reshape(rows, columns, bands).astype(dtype, copy=False)
    return np.cumsum(block, axis=1, dtype=dtype) if layout.differences else block


def _unpacked(data: bytes, layout: BandTiff, row_bytes: int) -> bytes:
    rows = layout.block_hw[0]
    if layout.packing == _RAW:
        return data
    if layout.packing in _DEFLATE:
        return zlib.decompressobj().decompress(data, row_bytes * rows)
    return _by_libtiff(data, layout.packing, row_bytes, rows)


def _by_libtiff(data: bytes, packing: int, row_bytes: int, rows: int) -> bytes:
    """The block wrapped as a small grey TIFF of its own, since Pillow's libtiff knows every packing."""
    tags = [(_WIDTH, row_bytes), (_HEIGHT, rows), (_BITS, 8), (_PACKING, packing), (_COLOURS, 1), (_OFFSETS, 8),
            (_SAMPLES, 1), (_ROWS, rows), (_SIZES, len(data))]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    padded = data + b"\0" * (len(data) % 2)
    start = b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded
    wrapped = start + struct.pack("<H", len(tags)) + directory + bytes(4)
    importlib.import_module("PIL.TiffImagePlugin")
    return Image.OPEN["TIFF"][0](io.BytesIO(wrapped), "").tobytes()
