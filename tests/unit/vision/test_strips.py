"""Pictures read strip by strip: the same pixels, and Pillow's own limit neither counts nor changes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espalier.errors import ImageError
from espalier.vision import strips
from espalier.vision.image import read_image, read_values


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_strips_give_the_pixels_of_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 65535, (23, 17), dtype=np.uint16)) if mode == "I;16" else Image.fromarray(
        rng.integers(0, 255, (23, 17, 3), dtype=np.uint8)).convert(mode)  # fmt: skip
    for wanted in {mode, "RGB"} - ({"RGB"} if mode == "I;16" else set()):
        whole = np.asarray(picture.convert(wanted) if wanted != mode else picture)
        monkeypatch.setattr(strips, "_PIXELS_AT_ONCE", 5 * 17)
        found = strips.as_array(picture, wanted)
        assert found.dtype == whole.dtype
        assert (found == whole).all()


def test_a_tiff_above_pillows_limit_is_read_and_the_limit_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    for suffix in ("tif", "png"):
        Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 2,000 are more than twice as many
    for suffix in ("tif", "png"):
        assert (read_image(str(tmp_path / f"a.{suffix}"), channels="grey")[:, :, 0] == pixels).all()
        assert (read_values(str(tmp_path / f"a.{suffix}")) == pixels).all()
    with pytest.raises(ImageError, match="refused before decoding"):
        read_image(str(tmp_path / "a.tif"), max_pixels=1999)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_what_pillow_refuses_as_it_opens_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("RGB", (50, 40)).save(file, "WEBP")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="more pixels than are read of a file of its kind"):
        read_image(file.getvalue())
