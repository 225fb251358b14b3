"""What is wrong with masks and outlines, as people meet it: the message, and the exit code, before any training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.e2e.test_segmentation import draw_masks

from espalier.cli import main

pytestmark = pytest.mark.slow


def other_size(data: Path) -> None:
    Image.new("L", (48, 36)).save(data / "masks" / "001.png")


def other_value(data: Path) -> None:
    values = np.array(Image.open(data / "masks" / "001.png"))
    values[3, 4] = 7
    Image.fromarray(values).save(data / "masks" / "001.png")


def other_colour(data: Path) -> None:
    for path in (data / "masks").iterdir():
        colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[np.array(Image.open(path)) % 3]
        colours[0, 0] = (1, 2, 3) if path.name == "001.png" else (0, 0, 0)
        Image.fromarray(colours).save(path)
    (data / "classes.csv").write_text("colour,class\n#000000,background\n#ff0000,red\n#0000ff,blue\n")


def ignored(data: Path) -> None:
    Image.new("L", (96, 72), 255).save(data / "masks" / "001.png")


def all_ignored(data: Path) -> None:
    for path in (data / "masks").iterdir():
        Image.new("L", (96, 72), 255).save(path)


def no_mask(data: Path) -> None:
    (data / "masks" / "001.png").unlink()


def outlined(data: Path, second: object) -> None:
    shutil.rmtree(data / "masks")
    (data / "classes.csv").unlink()
    segments = [[[10, 10, 30, 10, 30, 30, 10, 30]], second, *[[[10, 10, 30, 10, 30, 30]]] * 4]
    labels = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 20, 20], "segmentation": segment}
        for n, segment in enumerate(segments)
    ]
    images = [{"id": n, "file_name": f"images/{n:03d}.png", "width": 96, "height": 72} for n in range(6)]
    document = {"images": images, "categories": [{"id": 1, "name": "red"}], "annotations": labels}
    (data / "annotations.json").write_text(json.dumps(document))


def empty_polygon(data: Path) -> None:
    outlined(data, [[]])


def no_polygon(data: Path) -> None:
    outlined(data, [])


def flat_polygon(data: Path) -> None:
    outlined(data, [[10, 10, 30, 10, 20, 10]])


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (other_size, "masks/001.png: the mask has 48 × 36 px, its picture 96 × 72"),
    (other_value, "masks/001.png: the mask has the value 7, which no class has"),
    (other_colour, "masks/001.png: the mask has the colour #010203, which no class has"),
    (all_ignored, "every pixel of every mask is ignored: there is nothing to learn or to score"),
    (empty_polygon, "a polygon"),
]
TOLD: list[tuple[Callable[[Path], None], str]] = [
    (ignored, "masks/001.png: every pixel of the mask is ignored"),
    (no_mask, "images/001.png: the picture has no mask and is left out"),
    (no_polygon, "1 of 6 labels have no outline"),
    (flat_polygon, "annotation 1 (images/001.png): the outline covers no pixel"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_masks(tmp_path / "data", count=6, seed=1)


def train(data: Path, *more: str) -> int:
    spec = {
        "name": "bad", "network": {"name": "segformer", "preset": "tiny"}, "data": {"train": str(data)},
        "train": {"epochs": 1, "workers": 0, "device": "cpu", "tensorboard": False},
    }  # fmt: skip
    (data.parent / "spec.json").write_text(json.dumps(spec))
    return main(["train", str(data.parent / "spec.json"), "--out", str(data.parent / "run"), "--quiet", *more])


@pytest.mark.parametrize(("spoil", "message"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_can_not_be_learnt_from_is_an_error_before_training(
    spoil: Callable[[Path], None], message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(data)
    assert main(["data", "check", str(data)]) == 1
    assert message in capsys.readouterr().out
    assert train(data) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (data.parent / "run" / "checkpoints").exists()


@pytest.mark.parametrize(("spoil", "message"), TOLD, ids=lambda value: getattr(value, "__name__", ""))
def test_what_may_be_meant_is_a_warning(
    spoil: Callable[[Path], None], message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(data)
    assert main(["data", "check", str(data)]) == 0
    assert message in capsys.readouterr().out


def test_huge_pictures_are_refused_with_what_to_do(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(data), "--max-pixels", "5000"]) == 1
    assert "96 × 72 px is refused before decoding" in capsys.readouterr().out
    assert train(data, "data.max_pixels=5000") == 2
    assert "raise data.max_pixels" in capsys.readouterr().err
