"""Mask files: what their values are, and which class each has."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espalier.errors import DataError, ImageError
from espalier.vision import image
from espalier.vision.header import FREE_MASK_BYTES, PictureInfo, refuse_large
from espalier.vision.image import read_image, read_values
from espalier.vision.mask_file import IGNORE, MaskFile, MaskValues, read_raw

IDS = MaskValues(((0, 0), (7, 1), (9, 1), (255, IGNORE)), 2)


def saved(path: Path, values: np.ndarray, *, palette: bool = False) -> str:
    picture = Image.fromarray(values)
    if palette:
        picture.putpalette([n for value in range(256) for n in (value, 255 - value, 7)])
    picture.save(path)
    return str(path)


@pytest.mark.parametrize("palette", [False, True])
def test_ids_are_merged_and_ignored(tmp_path: Path, palette: bool) -> None:
    path = saved(tmp_path / "m.png", np.array([[0, 7], [9, 255]], np.uint8), palette=palette)
    assert MaskFile(path, (2, 2), IDS).read().tolist() == [[0, 1], [1, 255]]


def test_sixteen_bit_ids_and_more_than_255_classes(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", np.array([[0, 300], [299, 65535]], np.uint16))
    values = MaskValues((*((n, n) for n in range(301)), (65535, IGNORE)), 301)
    found = MaskFile(path, (2, 2), values).read()
    assert found.dtype == np.uint16
    assert found.tolist() == [[0, 300], [299, 65535]]


def test_all_other_values_may_be_one_class(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", np.array([[0, 1, 812]], np.uint16))
    assert MaskFile(path, (1, 3), MaskValues(((0, 0),), 2, others=1)).read().tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("palette", [False, True])
def test_colours_are_classes(tmp_path: Path, palette: bool) -> None:
    values = MaskValues(((0xFF0000, 0), (0x00FF07, 1)), 2, colours=True)
    if palette:
        path = saved(tmp_path / "m.png", np.array([[0, 0]], np.uint8), palette=True)
        assert MaskFile(path, (1, 2), values).read().tolist() == [[1, 1]]
        return
    path = saved(tmp_path / "m.png", np.array([[[255, 0, 0], [0, 255, 7]]], np.uint8))
    assert MaskFile(path, (1, 2), values).read().tolist() == [[0, 1]]


def test_grey_saved_in_colours_is_still_ids(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", np.array([[[7, 7, 7], [0, 0, 0]]], np.uint8))
    assert MaskFile(path, (1, 2), IDS).read().tolist() == [[1, 0]]


def test_one_bit_is_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "m.png")
    assert read_values(str(tmp_path / "m.png")).tolist() == [[1, 0]]


@pytest.mark.parametrize(("bits", "row", "values"), [(2, b"\x1b", [0, 1, 2, 3]), (4, b"\x1f\x02", [1, 15, 0, 2])])
def test_few_bits_of_grey_are_ids_too(tmp_path: Path, bits: int, row: bytes, values: list[int]) -> None:
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0" + row),
        b"IEND": b"",
    }
    chunks = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
              for name, data in parts.items())  # fmt: skip
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert read_values(str(tmp_path / "m.png")).tolist() == [values]


def test_a_value_that_no_class_has_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", np.array([[0, 8]], np.uint8))
    with pytest.raises(DataError, match="value 8, which no class has"):
        MaskFile(path, (1, 2), IDS).read()
    path = saved(tmp_path / "c.png", np.array([[[255, 128, 0]]], np.uint8))
    with pytest.raises(DataError, match="colour #ff8000, which no class has"):
        MaskFile(path, (1, 1), MaskValues(((0, 0),), 1, colours=True)).read()


def test_colours_without_a_meaning_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.png", np.array([[[255, 128, 0]]], np.uint8))
    with pytest.raises(DataError, match=r"classes\.csv"):
        MaskFile(path, (1, 1), IDS).read()
    (tmp_path / "d.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(ImageError):
        MaskFile(str(tmp_path / "d.png"), (1, 1), IDS).read()


def test_other_ids_leave_the_ignored_ones_ignored() -> None:
    assert IDS.by([3, -1], 5).named == ((0, 3), (7, -1), (9, -1), (255, -1))


@pytest.mark.parametrize(("colours", "mode"), [(False, "L"), (False, "P"), (True, "P"), (True, "RGB")])
def test_flat_masks_pack_as_bombs_do_and_are_read(
    tmp_path: Path, colours: bool, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "m.png")
    Image.new(mode, (900, 900)).save(path)  # in a few kB
    for name in ("FREE_BYTES", "FREE_MASK_BYTES"):
        monkeypatch.setattr(image, name, 1000)
    with pytest.raises(ImageError, match="decompression bomb"):
        read_raw(path, colours=colours)
    monkeypatch.setattr(image, "FREE_MASK_BYTES", FREE_MASK_BYTES)
    assert read_raw(path, colours=colours).shape == (900, 900)
    with pytest.raises(ImageError, match="decompression bomb"):
        read_image(path)


def test_a_mask_of_20_000_px_in_colours_is_no_bomb_and_a_far_larger_one_is() -> None:
    def ask(side: int, *, free_bytes: int) -> None:
        info = PictureInfo((side, side), 3, 8, "RGB", "PNG")
        refuse_large(info, "rgb", 1_000_000, 10**10, free_bytes=free_bytes)

    ask(20_000, free_bytes=FREE_MASK_BYTES)
    with pytest.raises(ImageError, match="save it without compression"):
        ask(30_000, free_bytes=FREE_MASK_BYTES)
