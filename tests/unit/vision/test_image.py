"""Reading pictures: rotation, channels, depth, and every way in which a file can be wrong."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from espalier.errors import ImageError
from espalier.vision.image import probe, read_image

RNG = np.random.default_rng(7)


def drawn(height: int = 12, width: int = 20, bands: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    """A smooth picture, so that lossy formats stay close."""
    y, x = np.mgrid[0:height, 0:width]
    top = np.iinfo(dtype).max
    planes = [(np.sin(x / 9 + c) + np.cos(y / 7 - c) + 2) / 4 * top for c in range(bands)]
    return np.stack(planes, axis=2).astype(dtype)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int, *, colour: int = 2, bits: int = 8) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied(kind: str, orientation: int) -> None:
    picture = Image.fromarray(drawn())
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(picture, kind, exif=exif, **options)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert probe(data).size_hw == upright.shape[:2] == ((20, 12) if orientation >= 5 else (12, 20))
    np.testing.assert_array_equal(read_image(data), upright)


def test_formats_agree_with_pillow() -> None:
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF"):
        data = saved(Image.fromarray(drawn(32, 40)), kind)
        with Image.open(io.BytesIO(data)) as picture:
            np.testing.assert_array_equal(read_image(data), np.asarray(picture.convert("RGB")), err_msg=kind)
        assert probe(data).format == kind
        assert probe(data).size_hw == (32, 40)


@pytest.mark.parametrize(
    ("mode", "bands"), [("1", 1), ("L", 1), ("LA", 2), ("P", 3), ("RGB", 3), ("RGBA", 4), ("CMYK", 3)]
)
def test_every_mode_in_every_channels(mode: str, bands: int) -> None:
    picture = Image.fromarray(drawn()).convert(mode)
    data = saved(picture, "TIFF" if mode == "CMYK" else "PNG")
    assert probe(data).bands == bands
    assert read_image(data, channels="auto").shape == (12, 20, bands)
    np.testing.assert_array_equal(read_image(data, channels="rgb"), np.asarray(picture.convert("RGB")))
    assert read_image(data, channels="rgba").shape == (12, 20, 4)
    grey = np.asarray((picture if mode in ("1", "L", "LA") else picture.convert("RGB")).convert("L"))
    np.testing.assert_array_equal(read_image(data, channels="grey")[:, :, 0], grey)


def test_alpha_is_dropped_for_rgb_and_opaque_where_there_is_none() -> None:
    rgba = drawn(bands=4)
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(rgba), "PNG")), rgba[:, :, :3])
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(rgba), "PNG"), channels="rgba"), rgba)
    assert (read_image(rgba[:, :, :3], channels="rgba")[:, :, 3] == 255).all()


def test_palette_with_transparency_has_four_bands() -> None:
    palette = Image.fromarray(drawn()).convert("P")
    data = saved(palette, "PNG", transparency=3)
    assert probe(data).bands == 4
    assert read_image(data, channels="auto").shape[2] == 4
    assert read_image(data).shape[2] == 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_depth(kind: str) -> None:
    deep = drawn(bands=1, dtype=np.uint16)
    data = saved(Image.fromarray(deep[:, :, 0]), kind)
    assert (probe(data).bits, probe(data).bands) == (16, 1)
    np.testing.assert_array_equal(read_image(data, channels="grey"), deep)
    np.testing.assert_array_equal(read_image(data), np.repeat(deep, 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("bands", [3, 4])
def test_16_bit_colours_keep_their_depth(suffix: str, bands: int) -> None:
    import cv2

    deep = drawn(bands=bands, dtype=np.uint16)
    order = [2, 1, 0, 3][:bands]
    data = cv2.imencode(suffix, np.ascontiguousarray(deep[:, :, order]))[1].tobytes()
    assert (probe(data).bits, probe(data).bands) == (16, bands)
    np.testing.assert_array_equal(read_image(data, channels="auto"), deep)
    luma = read_image(data, channels="grey")[:, :, 0].astype(float)
    np.testing.assert_allclose(luma, deep[:, :, :3] @ np.array([0.299, 0.587, 0.114]), atol=1.5)


def test_grey_pages_are_bands() -> None:
    planes = [Image.fromarray(drawn(bands=5)[:, :, c]) for c in range(5)]
    data = saved(planes[0], "TIFF", save_all=True, append_images=planes[1:])
    assert probe(data).pages == 5
    np.testing.assert_array_equal(read_image(data, channels="bands"), drawn(bands=5))
    assert read_image(data, channels="grey").shape == (12, 20, 1)


def test_npy_has_any_number_of_bands(tmp_path: Path) -> None:
    deep = drawn(bands=7, dtype=np.uint16)
    np.save(tmp_path / "scene.npy", deep)
    assert probe(tmp_path / "scene.npy").bands == 7
    np.testing.assert_array_equal(read_image(tmp_path / "scene.npy", channels="bands"), deep)
    with pytest.raises(ImageError, match=r"scene\.npy.*7 bands") as caught:
        read_image(tmp_path / "scene.npy")
    assert "network.input.bands=7" in str(caught.value)


def test_arrays_and_pillow_pictures_are_pictures() -> None:
    image = drawn()
    assert read_image(image) is image
    np.testing.assert_array_equal(read_image(Image.fromarray(image)), image)
    assert read_image(image[:, :, 0]).shape == (12, 20, 3)
    assert read_image(image[:, :, 0] > 99, channels="grey").max() == 255
    for wrong in (image.astype(np.float32), image[:, :, :0], np.zeros(5, np.uint8), image.astype(np.int64)):
        with pytest.raises(ImageError):
            read_image(wrong)


def test_sixty_thousand_pixels_square_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(60_000, 60_000))
    assert probe(path).size_hw == (60_000, 60_000)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert "huge.png: 60,000 × 60,000 px is refused before decoding" in str(caught.value)
    assert "300,000,000" in str(caught.value)


def test_max_pixels_is_the_callers() -> None:
    with pytest.raises(ImageError, match="at most 200 pixels"):
        read_image(saved(Image.fromarray(drawn()), "PNG"), max_pixels=200)
    with pytest.raises(ImageError, match="at most 200 pixels"):
        read_image(Image.fromarray(drawn()), max_pixels=200)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_truncated_files_are_told(kind: str) -> None:
    data = saved(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    for share in (0.9, 0.5, 0.1):
        with pytest.raises(ImageError) as caught:
            read_image(data[: int(len(data) * share)], name="photo.x")
        assert len(caught.value.problems) == 1
        assert str(caught.value).startswith("photo.x: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, I am no picture", "no picture we know"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "no picture we know"),
        (b"\xff\xd8\xff\xe0 broken", "damaged"),
        (b"\x93NUMPY\x01\x00\x02\x00{}", "damaged"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "damaged"),
    ],
)
def test_what_is_no_picture_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "note.jpg"
    path.write_bytes(content)
    for look in (probe, read_image):
        with pytest.raises(ImageError, match=message) as caught:
            look(path)  # type: ignore[operator]
        assert "note.jpg" in str(caught.value)


def test_missing_files_folders_and_web_addresses_are_told(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "none.jpg", "there is no such file"),
        (tmp_path, "is a folder"),
        ("https://example.org/cat.jpg", "web addresses are not read here"),
    ]:
        with pytest.raises(ImageError, match=message):
            read_image(path)


def test_float_and_32_bit_pictures_are_refused() -> None:
    for values in (np.full((4, 4), 0.5, np.float32), np.full((4, 4), 70_000, np.int32)):
        with pytest.raises(ImageError, match="save it with 8 or 16 bit"):
            read_image(saved(Image.fromarray(values), "TIFF"))


def test_a_pickle_in_an_array_file_is_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(ImageError):
        read_image(tmp_path / "evil.npy")


def test_broken_exif_leaves_a_good_picture_as_it_is() -> None:
    data = saved(Image.fromarray(drawn()), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x00")
    assert read_image(data).shape == (12, 20, 3)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = saved(Image.fromarray(drawn(64, 64)), "JPEG", progressive=True)
    assert read_image(data).shape == (64, 64, 3)
    with pytest.raises(ImageError, match="scans"):
        read_image(data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 300 + data[-2:])


FILES = [
    saved(Image.fromarray(drawn(24, 24)), kind)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    file=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=12),
    keep=st.floats(0, 1),
)
def test_any_damage_is_a_picture_or_an_image_error(file: bytes, changes: list[tuple[float, int]], keep: float) -> None:
    damaged = bytearray(file)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    data = bytes(damaged[: int(len(damaged) * keep) + 1])
    for look in (probe, read_image):
        with contextlib.suppress(ImageError):
            look(data)  # type: ignore[operator]


_BOMBS = """
import pathlib, resource, sys
from PIL import Image
from espalier.vision.image import read_image
from espalier.errors import ImageError
Image.MAX_IMAGE_PIXELS = None
kind, mode, side, channels = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
data = open(sys.argv[5], "rb").read()
try:
    print(read_image(data, channels=channels).shape)
except ImageError as error:
    print(error)
status = pathlib.Path("/proc/self/status")  # on Linux ru_maxrss is never less than the parent's, which tests with a lot
lines = status.read_text().splitlines() if status.exists() else []
peak = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
print((peak or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
@pytest.mark.parametrize(
    ("kind", "mode", "side", "channels", "refused"),
    [
        ("PNG", "L", 16_000, "grey", True), ("PNG", "L", 9_500, "rgb", False), ("PNG", "RGB", 9_500, "rgb", True),
        ("PNG", "RGB", 8_000, "rgb", False), ("JPEG", "RGB", 6_500, "rgb", False), ("WEBP", "RGB", 5_300, "rgb", False),
    ],
)  # fmt: skip
def test_a_small_file_never_takes_a_gigabyte(
    tmp_path: Path, kind: str, mode: str, side: int, channels: str, refused: bool
) -> None:
    path = tmp_path / "bomb"
    maker = f"from PIL import Image; Image.new({mode!r}, ({side}, {side}), 0).save({str(path)!r}, {kind!r})"
    subprocess.run([sys.executable, "-c", maker], check=True)
    arguments = [sys.executable, "-c", _BOMBS, kind, mode, str(side), channels, str(path)]
    lines = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    assert int(lines[-1]) < 1000, lines
    assert ("decompression bomb" in lines[0]) == refused, lines
