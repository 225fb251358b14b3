"""Pictures as arrays: the one place where files are decoded, turned upright and brought to the channels asked for.

The rules, part of prepare's version 1:

* Formats are a closed list (below); of animated pictures the first frame counts.
* EXIF's orientation is applied (in a PNG when its eXIf chunk comes before the pixels, as every writer does it).
* 8 bit stays uint8, 16 bit stays uint16; 32-bit and float pictures are refused, since their range is unknown.
* Palettes become RGB, or RGBA when they have transparency; CMYK, YCbCr, Lab and HSV become RGB by Pillow's rule.
* "rgb": grey is repeated, alpha is dropped. "grey": ITU-R 601 luma as Pillow rounds it. "rgba": opaque where there is
  no alpha. "auto": the picture's own bands. "bands": the same, and the pages of a TIFF whose pages are all grey and of
  one size are its bands; `.npy` files (HW or HWC, 8 or 16 bit) are pictures with any number of bands.

Arrays that come out may be read-only.
"""

from __future__ import annotations

import importlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from espalier import storage
from espalier.errors import ImageError, InputError, Problem
from espalier.vision.channels import Channels, as_channels

MAX_PIXELS = 300_000_000
Source = str | Path | bytes | NDArray[Any] | Image.Image

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2", ".j2k", ".ppm", ".pgm",
     ".pbm", ".pnm", ".mpo", ".npy"}
)  # fmt: skip
"""File name endings (lower case) of the pictures we read."""

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
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, AttributeError, ArithmeticError, AssertionError,
    RuntimeError, MemoryError, struct.error, zlib.error, cv2.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow and OpenCV are known to raise on damaged files; each means that this picture can't be read."""

_FREE_BYTES, _BOMB_RATIO = 700 << 20, 700  # decoding may take 700 MB, and more only from a file not 700 times smaller


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


def probe(source: Source, *, name: str = "") -> PictureInfo:
    """What the header says, without decoding any pixel. Raises ImageError."""
    if isinstance(source, np.ndarray):
        image_HWC = _checked_array(source, name or "array")
        return PictureInfo(_hw(image_HWC), image_HWC.shape[2], image_HWC.itemsize * 8, "bands", "array")
    if isinstance(source, Image.Image):
        return _info(source)
    where = name or _where(source)
    with _told(where), _open(source) as file:
        return _probe_npy(file) if _is_npy(file) else _info(_picture(file))


def read_image(
    source: Source, *, channels: Channels = "rgb", max_pixels: int = MAX_PIXELS, name: str = ""
) -> NDArray[Any]:
    """The upright picture, HWC, uint8 or uint16. `name` is what an error calls it; without it, the path.

    `source` is a path or fsspec address, the bytes of a file, an array (HW or HWC) or a Pillow picture. Raises
    ImageError for a file that is missing, truncated or damaged, is no picture, or is refused before decoding because
    it has more than `max_pixels` or unpacks to a multiple of its size that only a decompression bomb has.
    """
    if isinstance(source, np.ndarray):
        return as_channels(_checked_array(source, name or "array"), channels, where=name or "array")
    where = name or _where(source)
    with _told(where):
        if isinstance(source, Image.Image):
            return as_channels(_upright(_pixels(source, channels), _orientation(source)), channels, where=where)
        with _open(source) as file:
            return as_channels(_decode(file, channels, max_pixels), channels, where=where)


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
        raise ImageError(Problem(where, "the picture does not fit into memory", fix="cut it into tiles")) from error
    except _DECODE_ERRORS as error:
        raise ImageError(
            Problem(where, f"the picture is damaged: {_reason(error)}", fix="copy or export it again")
        ) from error


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return "the file is truncated" if "truncated" in text.lower() or isinstance(error, EOFError) else text


def _picture(file: IO[bytes]) -> ImageFile.ImageFile:
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


# ---- what the header says ------------------------------------------------------------------------------------------

_BANDS = {"1": 1, "L": 1, "I": 1, "F": 1, "LA": 2, "La": 2, "PA": 4, "RGBA": 4, "RGBa": 4, "RGBX": 4}


def _info(picture: Image.Image) -> PictureInfo:
    orientation = _orientation(picture)
    width, height = picture.size
    size_hw = (width, height) if orientation >= 5 else (height, width)
    if picture.mode == "P":
        bands = 4 if "transparency" in picture.info else 3
    else:
        bands = 1 if picture.mode.startswith("I;16") else _BANDS.get(picture.mode, 3)
    pages = int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1
    return PictureInfo(size_hw, bands, _bits(picture), picture.mode, picture.format or "memory", orientation, pages)


def _bits(picture: Image.Image) -> int:
    if picture.mode.startswith("I;16"):
        return 16
    if picture.mode in ("I", "F"):
        return 16 if picture.mode == "I" and picture.format in ("PNG", "PPM") else 32
    return 16 if _is_deep_colour(picture) else 8


def _is_deep_colour(picture: Image.Image) -> bool:
    """Has it more than one channel of 16 bit? Pillow would keep the upper 8; OpenCV keeps all."""
    if picture.format == "TIFF":
        bits = getattr(picture, "tag_v2", {}).get(258, (8,))
        return len(bits) > 1 and max(bits) == 16
    tile = getattr(picture, "tile", None) or ()
    raw_mode = tile[0][3] if picture.format == "PNG" and tile else ""
    return isinstance(raw_mode, str) and ";16" in raw_mode and not picture.mode.startswith("I")


def _orientation(picture: Image.Image) -> int:
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
    except _DECODE_ERRORS:  # broken metadata around a good picture: it stays as it is
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


# ---- decoding ----------------------------------------------------------------------------------------------------


def _decode(file: IO[bytes], channels: Channels, max_pixels: int) -> NDArray[Any]:
    file_bytes = file.seek(0, io.SEEK_END)
    if _is_npy(file):
        info = _probe_npy(file)
        _refuse_large(info, file_bytes, max_pixels)
        return _read_npy(file, info)
    picture = _picture(file)
    info = _info(picture)
    pages = info.pages if channels == "bands" and info.pages > 1 else 1
    _refuse_large(info, file_bytes, max_pixels, pages)
    if pages > 1 and info.bands == 1:
        return _pages_as_bands(picture, pages)
    if info.bits == 16 and _is_deep_colour(picture):
        picture.load()  # Pillow tells a truncated file from a whole one; OpenCV does not always
        return _upright(_deep_colour(file, picture.mode), info.orientation)
    return _upright(_pixels(picture, channels), info.orientation)


def _refuse_large(info: PictureInfo, file_bytes: int, max_pixels: int, pages: int = 1) -> None:
    height, width = info.size_hw
    size = f"{width:,} × {height:,} px"
    if height < 1 or width < 1:
        raise ImageError(f"a picture of {size} has no pixels")
    pixels = height * width * pages
    if pixels > max_pixels:
        fix = "cut it into tiles, or raise data.max_pixels if you trust the file"
        raise ImageError(Problem("", f"{size} is refused before decoding", f"at most {max_pixels:,} pixels", fix))
    need = pixels * _bytes_per_pixel(info)
    if need > max(_FREE_BYTES, _BOMB_RATIO * file_bytes):
        what = f"{size} in a file of {file_bytes:,} bytes is refused before decoding as a decompression bomb"
        raise ImageError(Problem("", what, "a file that is not a thousand times smaller than its picture"))


def _bytes_per_pixel(info: PictureInfo) -> int:
    """What decoding takes at its peak: the codec's canvas, Pillow's picture, and the array while it is copied out."""
    held = {"1": 1, "L": 1, "P": 5}.get(info.mode, 2 if info.mode.startswith("I;16") else 4)
    canvas = 12 if info.format in ("WEBP", "AVIF", "JPEG2000", "GIF") else 0
    return canvas + held + 2 * info.bands * (2 if info.bits > 8 else 1)


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
    if channels == "rgb" and wanted == "L":
        wanted = "RGB"
    if channels == "grey" and wanted == "RGB":
        wanted = "L"
    converted = picture if picture.mode == wanted else picture.convert(wanted)
    pixels = np.asarray(converted)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _whole_numbers(picture: Image.Image) -> NDArray[np.uint16]:
    pixels = np.asarray(picture)
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise ImageError(Problem("", "its pixels have more than 16 bit", fix="save it with 8 or 16 bit"))
    return pixels.astype(np.uint16)[:, :, None]


def _deep_colour(file: IO[bytes], mode: str) -> NDArray[Any]:
    """Pictures with several channels of 16 bit, by OpenCV (BGR → RGB)."""
    file.seek(0)
    found = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
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


def _is_npy(file: IO[bytes]) -> bool:
    file.seek(0)
    return file.read(len(_NPY)) == _NPY


def _probe_npy(file: IO[bytes]) -> PictureInfo:
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if len(shape) not in (2, 3) or dtype not in (np.dtype(np.uint8), np.dtype("<u2"), np.dtype(">u2")):
        raise ImageError(
            Problem("", f"an array of {dtype} and shape {shape} is no picture", "uint8 or uint16, HW or HWC")
        )
    bands = shape[2] if len(shape) == 3 else 1
    return PictureInfo((shape[0], shape[1]), bands, dtype.itemsize * 8, "bands", "NPY")


def _read_npy(file: IO[bytes], info: PictureInfo) -> NDArray[Any]:
    file.seek(0)
    image = np.load(io.BytesIO(file.read()), allow_pickle=False)
    return _checked_array(image.astype(image.dtype.newbyteorder("="), copy=False), "picture").reshape(*info.size_hw, -1)
