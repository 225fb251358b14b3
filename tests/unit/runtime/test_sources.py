"""What one may call pictures, and what is said when there are none."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espalier.errors import ImageError, InputError
from espalier.runtime import sources
from espalier.runtime.sources import expand


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a.JPG", "deep/c.webp"):
        Image.new("RGB", (5, 4), (9, 9, 9)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def names(root: Path, found) -> list[str]:
    return [Path(s.name).relative_to(root).as_posix() for s in found]


def test_folder(folder):
    assert names(folder, expand([folder])) == ["a.JPG", "b.png", "deep/c.webp"]
    assert names(folder, expand([str(folder)], recursive=False)) == ["a.JPG", "b.png"]


def test_globs_files_and_no_doubles(folder):
    assert names(folder, expand([f"{folder}/*.png", folder / "b.png", f"{folder}/**/*.webp"])) == [
        "b.png",
        "deep/c.webp",
    ]


def test_a_file_whose_name_looks_like_a_glob(folder):
    Image.new("RGB", (2, 2)).save(folder / "x[1].png")
    assert names(folder, expand([f"{folder}/x[1].png"])) == ["x[1].png"]


def test_zip(folder):
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "b.png", "in/b.png")
    (source,) = expand([path])
    assert source.read().image_HWC.shape == (4, 5, 3)


def test_arrays_pictures_and_bytes(folder):
    image = Image.new("L", (5, 4))
    data = (folder / "b.png").read_bytes()
    found = expand(
        [np.zeros((4, 5, 3), np.uint8), image, data, bytearray(data), memoryview(data), np.zeros((4, 5, 3), np.uint8)]
    )
    assert [s.read().image_HWC.shape for s in found] == [(4, 5, 3)] * 6
    assert found[0].name == "image-00000"


def test_everything_that_is_not_there_is_told_at_once(folder):
    with pytest.raises(InputError) as caught:
        expand([folder / "nope.png", f"{folder}/*.gif", "https://example.org/a.png", folder / "b.png"])
    wheres = [p.where for p in caught.value.problems]
    assert [Path(w).name for w in wheres] == ["nope.png", "*.gif", "a.png"]
    assert "--allow-urls" in caught.value.problems[2].fix


def test_nothing_given_and_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="no pictures were given"):
        expand([])
    with pytest.raises(InputError, match="no picture lies in this folder"):
        expand([tmp_path])


def test_a_picture_that_can_not_be_read_names_itself(folder):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:40])
    (source,) = expand([folder / "b.png"])
    with pytest.raises(ImageError, match=r"b\.png"):
        source.read()
    (text,) = expand([folder / "notes.txt"])
    with pytest.raises(ImageError, match=r"notes\.txt"):
        text.read()
    (odd,) = expand([3.5])
    with pytest.raises(ImageError):
        odd.read()


def test_web_addresses_when_asked(monkeypatch):
    buffer = io.BytesIO()
    Image.new("RGB", (7, 3)).save(buffer, "PNG")
    monkeypatch.setattr(sources.storage, "read_url", lambda url: buffer.getvalue())
    (source,) = expand(["https://example.org/a.png"], allow_urls=True)
    assert source.read().image_HWC.shape == (3, 7, 3)
    assert source.name == "https://example.org/a.png"

    def gone(url):
        raise InputError(f"{url}: not found")

    monkeypatch.setattr(sources.storage, "read_url", gone)
    with pytest.raises(ImageError, match="not found"):
        source.read()
