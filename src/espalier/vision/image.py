"""Pictures as arrays: the one place where files are decoded, turned upright and brought to the channels asked for.

The rules, part of prepare's version 1:

* Formats are a closed list (below); of animated pictures the first frame counts.
* EXIF's orientation is applied (in a PNG when its eXIf chunk comes before the pixels, as every writer does it).
* 8 bit stays uint8, 16 bit stays uint16; 32-bit and float pictures are refused, since their range is unknown.
* Palettes become RGB, or RGBA when they have transparency; CMYK, YCbCr, Lab and HSV become RGB by Pillow's rule.
* "rgb": grey is repeated, alpha is dropped. "grey": ITU-R 601 luma as Pillow rounds it. "rgba": opaque where there is
  no alpha. "auto": the picture's own bands. "bands": the same, and the pages of a TIFF whose pages are all grey and of
  one size are its bands. TIFFs of more than four samples, or of several grey ones, and `.npy` files (HW or HWC, 8 or
  16 bit) are pictures with any number of bands.

Arrays that come out may be read-only.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from espalier import storage
from espalier.errors import ImageError, InputError, Problem
from espalier.vision.channels import Channels, as_channels
from espalier.vision.header import (
    DECODE_ERRORS,
    FREE_BYTES,
    FREE_MASK_BYTES,
    MAX_PIXELS,
    PictureInfo,
    info_of,
    info_of_bands,
    is_deep_colour,
    is_npy,
    open_picture,
    orientation_of,
    probe_npy,
    refuse_large,
    refuse_many_scans,
)  # fmt: skip
from espalier.vision.mask_array import read_mask_array
from espalier.vision.strips import as_array
from espalier.vision.tiff import band_tiff, read_bands

__all__ = ["MAX_PIXELS", "SUFFIXES", "PictureInfo", "Source", "probe", "read_image", "read_values"]
Source = str | Path | bytes | NDArray[Any] | Image.Image

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2", ".j2k", ".ppm", ".pgm",
     ".pbm", ".pnm", ".mpo", ".npy"}
)  # fmt: skip
"""File name endings (lower case) of the pictures we read."""


def probe(source: Source, *, name: str = "") -> PictureInfo:
    """What the header says, without decoding any pixel. Raises ImageError."""
    if isinstance(source, np.ndarray):
        image_HWC = _checked_array(source, name or "array")
        return PictureInfo(_hw(image_HWC), image_HWC.shape[2], image_HWC.itemsize * 8, "bands", "array")
    if isinstance(source, Image.Image):
        return info_of(source)
    where = name or _where(source)
    with _told(where), _open(source) as file:
        return _look(file)


def read_image(
    source: Source,
    *,
    channels: Channels = "rgb",
    max_pixels: int = MAX_PIXELS,
    name: str = "",
    is_mask: bool = False,
) -> NDArray[Any]:
    """The upright picture, HWC, uint8 or uint16. `name` is what an error calls it; without it, the path.

    `source` is a path or fsspec address, the bytes of a file, an array (HW or HWC) or a Pillow picture. Raises
    ImageError for a file that is missing, truncated or damaged, is no picture, or is refused before decoding because
    it has more than `max_pixels` or unpacks to a multiple of its size that only a decompression bomb has (or, with
    `is_mask`, a mask).
    """
    if isinstance(source, np.ndarray):
        return as_channels(_checked_array(source, name or "array"), channels, where=name or "array")
    where = name or _where(source)
    with _told(where):
        if isinstance(source, Image.Image):
            return as_channels(_from_pillow(source, channels, max_pixels), channels, where=where)
        with _open(source) as file:
            free_bytes = FREE_MASK_BYTES if is_mask else FREE_BYTES
            return as_channels(_decode(file, channels, max_pixels, free_bytes), channels, where=where)


def read_values(source: Source, *, max_pixels: int = MAX_PIXELS, name: str = "") -> NDArray[Any]:
    """What the pixels of a mask are, upright: (H, W) uint8 or uint16, or the colours (H, W, 3).

    Of a palette the numbers count, not its colours; of one, two or four bits 0 and 1, to 3 or to 15; alpha is dropped.
    Arrays may hold whole numbers of any width.
    Raises as `read_image` does.
    """
    where = name or _where(source)
    with _told(where), _open(source) as file:
        values = _values(file, max_pixels)
    return values[:, :, 0] if values.ndim == 3 and values.shape[2] < 3 else values[:, :, :3]


# ---- opening -----------------------------------------------------------------------------------------------------


def _where(source: Source) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else "picture"


def _open(source: Any) -> IO[bytes]:
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if not isinstance(source, str | os.PathLike):
        raise ImageError(f"a {type(source).__name__} is no picture; give a path, bytes, an array or a Pillow picture")
    if str(source).startswith(("http://", "https://")):
        raise InputError(
            Problem(str(source), "web addresses are not read here", fix="predict takes them with --allow-urls")
        )
    return storage.open_read(source)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Turns what goes wrong inside into one ImageError that names the picture."""
    try:
        yield
    except ImageError as error:
        raise ImageError(*(Problem(p.where or where, p.what, p.expected, p.fix) for p in error.problems)) from error
    except InputError as error:
        raise ImageError(*error.problems) from error
    except MemoryError as error:
        raise ImageError(Problem(where, "the picture does not fit into memory", fix="cut it up")) from error
    except Image.DecompressionBombError as error:
        what, fix = "it has more pixels than are read of a file of its kind", "save it as PNG or TIFF, or cut it up"
        raise ImageError(Problem(where, what, fix=fix)) from error
    except DECODE_ERRORS as error:
        raise ImageError(
            Problem(where, f"the picture is damaged: {_reason(error)}", fix="copy or export it again")
        ) from error


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200] or type(error).__name__
    ended = isinstance(error, EOFError | struct.error) or "truncated" in text.lower()
    return "the file is truncated" if ended else text


def _look(file: IO[bytes]) -> PictureInfo:
    if is_npy(file):
        return probe_npy(file)
    layout = band_tiff(file)
    return info_of_bands(layout) if layout else info_of(open_picture(file))


# ---- decoding ----------------------------------------------------------------------------------------------------


def _decode(file: IO[bytes], channels: Channels, max_pixels: int, free_bytes: int) -> NDArray[Any]:
    file_bytes = file.seek(0, io.SEEK_END)
    if is_npy(file):
        info = probe_npy(file)
        refuse_large(info, channels, file_bytes, max_pixels)
        return _read_npy(file, info)
    layout = band_tiff(file)
    if layout is not None:
        info = info_of_bands(layout)
        refuse_large(info, channels, file_bytes, max_pixels, free_bytes=free_bytes)
        return _upright(read_bands(file, layout), info.orientation)
    picture = open_picture(file)
    info = info_of(picture)
    if picture.format == "JPEG" and picture.info.get("progressive"):
        refuse_many_scans(file)
    pages = info.pages if channels == "bands" and info.pages > 1 else 1
    refuse_large(info, channels, file_bytes, max_pixels, pages, free_bytes=free_bytes)
    if pages > 1 and info.bands == 1:
        return _pages_as_bands(picture, pages)
    if info.bits == 16 and is_deep_colour(picture):
        picture.load()  # Pillow tells a truncated file from a whole one; OpenCV does not always
        return _upright(_deep_colour(file, picture.mode), info.orientation)
    return _upright(_pixels(picture, channels), info.orientation)


def _values(file: IO[bytes], max_pixels: int) -> NDArray[Any]:
    if is_npy(file):
        return read_mask_array(file, max_pixels)
    if band_tiff(file) is not None:
        return _decode(file, "auto", max_pixels, FREE_MASK_BYTES)
    picture = open_picture(file)
    if picture.mode not in ("P", "1"):
        steps = _STEPS.get(_raw_mode(picture), 1)
        values = _decode(file, "auto", max_pixels, FREE_MASK_BYTES)
        return values // np.uint8(steps) if steps > 1 else values
    info = replace(info_of(picture), mode="L", bands=1)  # the numbers alone are held, no colours
    refuse_large(info, "auto", file.seek(0, io.SEEK_END), max_pixels, free_bytes=FREE_MASK_BYTES)
    return _upright(as_array(picture, picture.mode).astype(np.uint8, copy=False)[:, :, None], info.orientation)


_STEPS = {"L;2": 85, "L;4": 17}
"""How far apart Pillow puts the values of grey with fewer than 8 bit, so that the highest is white."""


def _raw_mode(picture: ImageFile.ImageFile) -> str:
    """How the file packs its pixels, in Pillow's words."""
    arguments = picture.tile[0].args if picture.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _from_pillow(picture: Image.Image, channels: Channels, max_pixels: int) -> NDArray[Any]:
    refuse_large(info_of(picture), channels, sys.maxsize, max_pixels)
    return _upright(_pixels(picture, channels), orientation_of(picture))


def _pixels(picture: Image.Image, channels: Channels) -> NDArray[Any]:
    """The pixels by Pillow, not yet turned; already in the channels asked for where Pillow's rule is ours."""
    mode = picture.mode
    if mode.startswith("I;16") or mode == "I":
        return _whole_numbers(picture)
    if mode == "F":
        raise ImageError(Problem("", "its pixels are 32-bit floats of unknown range", fix="save it with 8 or 16 bit"))
    if mode == "P":
        mode = "RGBA" if "transparency" in picture.info else "RGB"
    wanted = {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(mode, mode)
    if wanted not in ("L", "LA", "RGB", "RGBA", "RGBX"):
        wanted = "RGB"
    if channels == "grey" and wanted == "RGB":
        wanted = "L"
    pixels = as_array(picture, wanted)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _whole_numbers(picture: Image.Image) -> NDArray[np.uint16]:
    pixels = as_array(picture, picture.mode)
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise ImageError(Problem("", "its pixels have more than 16 bit", fix="save it with 8 or 16 bit"))
    return pixels.astype(np.uint16, copy=False)[:, :, None]


def _deep_colour(file: IO[bytes], mode: str) -> NDArray[Any]:
    """Pictures with several channels of 16 bit, by OpenCV (BGR → RGB)."""
    import cv2

    file.seek(0)
    try:
        found = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError("its 16-bit colours can't be decoded") from error
    if found is None:
        raise ImageError("its 16-bit colours can't be decoded")
    if found.ndim == 2:
        return cast("NDArray[Any]", found[:, :, None])
    if mode == "LA":
        return np.ascontiguousarray(found[:, :, [0, 3]])
    return cv2.cvtColor(found, cv2.COLOR_BGR2RGB if found.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _pages_as_bands(picture: Image.Image, pages: int) -> NDArray[Any]:
    planes: list[NDArray[Any]] = []
    for page in range(pages):
        picture.seek(page)
        plane_HWC = _pixels(picture, "auto")
        if planes and (plane_HWC.shape != planes[0].shape or plane_HWC.dtype != planes[0].dtype):
            raise ImageError(
                f"page {page + 1} of {pages} differs in size or depth from the first, so they aren't bands"
            )
        planes.append(plane_HWC)
    return np.concatenate(planes, axis=2)


def _upright(image_HWC: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The picture turned as EXIF's orientation (1 to 8) says."""
    if orientation == 1:
        return image_HWC
    if orientation >= 5:
        image_HWC = image_HWC.transpose(1, 0, 2)
    rows: Literal[1, -1] = -1 if orientation in (3, 4, 7, 8) else 1
    columns: Literal[1, -1] = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(image_HWC[::rows, ::columns])


# ---- arrays ------------------------------------------------------------------------------------------------------


def _hw(image_HWC: NDArray[Any]) -> tuple[int, int]:
    return int(image_HWC.shape[0]), int(image_HWC.shape[1])


def _checked_array(image: NDArray[Any], where: str) -> NDArray[Any]:
    """The array as HWC; raises ImageError for another shape or depth."""
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or not image.size:
        raise ImageError(Problem(where, f"an array of shape {image.shape} is no picture", "(height, width, channels)"))
    if image.dtype == np.bool_:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(Problem(where, f"pixels of type {image.dtype} have no known range", "uint8 or uint16"))
    return image


def _read_npy(file: IO[bytes], info: PictureInfo) -> NDArray[Any]:
    file.seek(0)
    image = np.load(io.BytesIO(file.read()), allow_pickle=False)
    return _checked_array(image.astype(image.dtype.newbyteorder("="), copy=False), "picture").reshape(*info.size_hw, -1)
