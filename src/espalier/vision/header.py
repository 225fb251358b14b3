"""What a picture's first bytes say, and whether it is refused before any of its pixels is decoded."""

from __future__ import annotations

import importlib
import struct
import zlib
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from espalier.errors import ImageError, Problem
from espalier.vision.channels import COUNT, Channels
from espalier.vision.tiff import BandTiff

MAX_PIXELS = 300_000_000

_PLUGINS = {  # first bytes → Pillow's reader
    b"\xff\xd8\xff": ("JPEG", "PIL.JpegImagePlugin"), b"\x89PNG\r\n\x1a\n": ("PNG", "PIL.PngImagePlugin"),
    b"II*\x00": ("TIFF", "PIL.TiffImagePlugin"), b"MM\x00*": ("TIFF", "PIL.TiffImagePlugin"),
    b"II+\x00": ("TIFF", "PIL.TiffImagePlugin"), b"MM\x00+": ("TIFF", "PIL.TiffImagePlugin"),
    b"BM": ("BMP", "PIL.BmpImagePlugin"), b"GIF8": ("GIF", "PIL.GifImagePlugin"),
    b"\xff\x4f\xff\x51": ("JPEG2000", "PIL.Jpeg2KImagePlugin"),
    b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a": ("JPEG2000", "PIL.Jpeg2KImagePlugin"),
    **{f"P{n}".encode(): ("PPM", "PIL.PpmImagePlugin") for n in range(1, 7)},
}  # fmt: skip
_NPY = b"\x93NUMPY"

_ORIENTATION_TAG = 0x0112
DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, AttributeError, ArithmeticError, AssertionError,
    RuntimeError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow and numpy are known to raise on damaged files; each means that this picture can't be read."""

_MOST_SCANS = 200
FREE_BYTES, _BOMB_RATIO = 700 << 20, 700  # decoding may take 700 MB, and more only from a file not 700 times smaller
FREE_MASK_BYTES = 4 << 30
"""Of masks, whose flat regions pack as a bomb does: one of 20,000 × 20,000 px in colours takes as much."""


@dataclass(frozen=True)
class PictureInfo:
    """What a picture's header says. `size_hw` is upright; `bits` is 8 or 16, or what the refusal will name."""

    size_hw: tuple[int, int]
    bands: int
    bits: int
    mode: str  # Pillow's word for the kind of pixels; "bands" for .npy
    format: str
    orientation: int = 1  # EXIF's number, 1 to 8
    pages: int = 1


def open_picture(file: IO[bytes]) -> ImageFile.ImageFile:
    """Pillow's lazy picture by a closed list of readers. (`Image.open` would try many more, and has its own limit.)"""
    file.seek(0)
    head = file.read(16)
    if not head:
        raise ImageError("the file is empty")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = ("WEBP", "PIL.WebPImagePlugin")
    elif head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1", b"msf1"):
        found = ("AVIF", "PIL.AvifImagePlugin")
    else:
        found = next((plugin for magic, plugin in _PLUGINS.items() if head.startswith(magic)), ("", ""))
    if not found[0]:
        known = "JPEG, PNG, TIFF, WebP, AVIF, BMP, GIF, JPEG 2000, PPM or .npy"
        raise ImageError(
            Problem("", "this is no picture we know", f"the file begins with none of the marks of {known}")
        )
    file.seek(0)
    importlib.import_module(found[1])
    if found[0] not in Image.OPEN:
        raise ImageError(f"this Pillow was built without {found[0]}")
    return Image.OPEN[found[0]][0](file, "")


_BANDS = {"1": 1, "L": 1, "I": 1, "F": 1, "LA": 2, "La": 2, "PA": 4, "RGBA": 4, "RGBa": 4, "RGBX": 4}


def info_of(picture: Image.Image) -> PictureInfo:
    orientation = orientation_of(picture)
    width, height = picture.size
    size_hw = (width, height) if orientation >= 5 else (height, width)
    if picture.mode == "P":
        bands = 4 if "transparency" in picture.info else 3
    else:
        bands = 1 if picture.mode.startswith("I;16") else _BANDS.get(picture.mode, 3)
    pages = int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1
    return PictureInfo(size_hw, bands, _bits(picture), picture.mode, picture.format or "memory", orientation, pages)


def info_of_bands(layout: BandTiff) -> PictureInfo:
    """What a TIFF of many bands is."""
    orientation = layout.orientation if 1 <= layout.orientation <= 8 else 1
    size_hw = layout.size_hw[::-1] if orientation >= 5 else layout.size_hw
    return PictureInfo(size_hw, layout.bands, layout.bits, "bands", "TIFF", orientation)


def _bits(picture: Image.Image) -> int:
    if picture.mode.startswith("I;16"):
        return 16
    if picture.mode in ("I", "F"):
        return 16 if picture.mode == "I" and picture.format in ("PNG", "PPM") else 32
    return 16 if is_deep_colour(picture) else 8


def is_deep_colour(picture: Image.Image) -> bool:
    """Has it more than one channel of 16 bit? Pillow would keep the upper 8; OpenCV keeps all."""
    if picture.format == "TIFF":
        bits = getattr(picture, "tag_v2", {}).get(258, (8,))
        return len(bits) > 1 and max(bits) == 16
    tile = getattr(picture, "tile", None) or ()
    raw_mode = tile[0][3] if picture.format == "PNG" and tile else ""
    return isinstance(raw_mode, str) and ";16" in raw_mode and not picture.mode.startswith("I")


def orientation_of(picture: Image.Image) -> int:
    """EXIF's orientation, 1 when there is none or it can't be understood. Pillow itself turns TIFFs upright."""
    if picture.format == "TIFF":
        return 1
    try:
        if picture.format == "PNG":  # PngImageFile.getexif would decode the whole picture
            exif = Image.Exif()
            exif.load(picture.info.get("exif", b""))
        else:
            exif = picture.getexif()
        value = exif.get(_ORIENTATION_TAG, 1)
    except DECODE_ERRORS:  # broken metadata around a good picture: it stays as it is
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def is_npy(file: IO[bytes]) -> bool:
    file.seek(0)
    return file.read(len(_NPY)) == _NPY


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """(shape, type of the values)."""
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def probe_npy(file: IO[bytes]) -> PictureInfo:
    shape, dtype = npy_header(file)
    if len(shape) not in (2, 3) or dtype not in (np.dtype(np.uint8), np.dtype("<u2"), np.dtype(">u2")):
        raise ImageError(
            Problem("", f"an array of {dtype} and shape {shape} is no picture", "uint8 or uint16, HW or HWC")
        )
    bands = shape[2] if len(shape) == 3 else 1
    return PictureInfo((shape[0], shape[1]), bands, dtype.itemsize * 8, "bands", "NPY")


# ---- refusals --------------------------------------------------------------------------------------------------------


def refuse_large(
    info: PictureInfo,
    channels: Channels,
    file_bytes: int,
    max_pixels: int,
    pages: int = 1,
    *,
    free_bytes: int = FREE_BYTES,
) -> None:
    height, width = info.size_hw
    size = f"{width:,} × {height:,} px"
    if height < 1 or width < 1:
        raise ImageError(f"a picture of {size} has no pixels")
    pixels = height * width * pages
    if pixels > max_pixels:
        fix = (
            "raise data.max_pixels (of data check: --max-pixels) if you trust the file, which is decoded whole, "
            "or cut it into smaller ones"
        )
        raise ImageError(Problem("", f"{size} is refused before decoding", f"at most {max_pixels:,} pixels", fix))
    need = pixels * _bytes_per_pixel(info, channels)
    if need > max(free_bytes, _BOMB_RATIO * file_bytes):
        what = f"{size} in a file of {file_bytes:,} bytes is refused before decoding as a decompression bomb"
        expected = "a file that is not a thousand times smaller than its picture"
        raise ImageError(Problem("", what, expected, "if you trust it, save it without compression"))


def refuse_many_scans(file: IO[bytes]) -> None:
    """Every scan of a progressive JPEG goes over the whole picture again; real ones have about ten."""
    place = file.tell()
    file.seek(0)
    scans = file.read().count(b"\xff\xda")
    file.seek(place)
    if scans > _MOST_SCANS:
        raise ImageError(f"a JPEG of {scans} scans is refused before decoding: it would take minutes")


_CANVAS = {"JPEG": 6, "TIFF": 4, "WEBP": 12, "GIF": 12, "AVIF": 20, "JPEG2000": 20}
"""Bytes a pixel that a codec itself may hold: coefficients, strips, planes, the canvas of an animation."""


def _bytes_per_pixel(info: PictureInfo, channels: Channels) -> int:
    """What reading takes at its peak: the codec, Pillow's picture and the array copied out of it, or the array in its
    own and in the wanted channels."""
    depth = 2 if info.bits > 8 else 1
    held = {"1": 1, "L": 1, "P": 5}.get(info.mode, 2 if info.mode.startswith("I;16") else 4)
    decoding = _CANVAS.get(info.format, 0) + held + 2 * info.bands * depth
    wanted = COUNT.get(channels, info.bands)
    return max(decoding, (info.bands + 2 * wanted) * depth if wanted != info.bands else 0)
