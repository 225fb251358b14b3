"""Answers as pictures: drawn on, or each box cut out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from espalier import storage
from espalier.actions.predict_answer import Answer
from espalier.data.formats.folders import class_folder
from espalier.vision.draw import to_rgb8


class DrawnPictures:
    """`drawn/`: a JPEG for each answer, with the answer on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = storage.make_folder(folder / "drawn")

    def add(self, answer: Answer) -> None:
        """One picture."""
        write_jpeg(self._folder / f"{answer.number:05d}-{answer.stem}.jpg", answer.drawn_HWC, quality=90)

    def failed(self, name: str, error: str) -> None:
        """Nothing can be drawn."""

    def close(self) -> list[str]:
        """The folder."""
        return ["drawn/"]


class Crops:
    """`crops/CLASS/PICTURE-ROW.jpg`: each box cut out, a folder for each class, as `fit` takes them."""

    def __init__(self, folder: Path, classes: Sequence[str], margin: float) -> None:
        self._folder, self._margin = storage.make_folder(folder / "crops"), margin
        self._class_folders = class_folders(classes)

    def add(self, answer: Answer) -> None:
        """A picture for each box that is said and has a part inside the picture."""
        if answer.labels is None:
            return
        labels = answer.labels.annotations
        for row, (class_id, box) in enumerate(zip(labels.class_id, labels.box_xyxy, strict=True)):
            crop_HWC = cut_out(answer.query.image_HWC, box, self._margin)
            if crop_HWC.size:
                folder = storage.make_folder(self._folder / self._class_folders[class_id])
                write_jpeg(folder / f"{answer.number:05d}-{answer.stem}-{row:03d}.jpg", to_rgb8(crop_HWC), quality=95)

    def failed(self, name: str, error: str) -> None:
        """Nothing can be cut out."""

    def close(self) -> list[str]:
        """The folder."""
        return ["crops/"]


def class_folders(classes: Sequence[str]) -> list[str]:
    """A folder's name for each class, with the class's number where those of several would be the same."""
    names = [class_folder(name) for name in classes]
    same = Counter(name.lower() for name in names)
    return [f"{name}-{number}" if same[name.lower()] > 1 else name for number, name in enumerate(names)]


def cut_out(image_HWC: NDArray[Any], box_xyxy: NDArray[Any], margin: float) -> NDArray[Any]:
    """The pixels that a box touches, with a margin of so many of its longer edges, as far as the picture goes."""
    height, width = image_HWC.shape[:2]
    left, top, right, bottom = (float(edge) for edge in box_xyxy)
    around = margin * max(right - left, bottom - top)
    rows = slice(max(0, math.floor(top - around)), max(0, min(height, math.ceil(bottom + around))))
    columns = slice(max(0, math.floor(left - around)), max(0, min(width, math.ceil(right + around))))
    return image_HWC[rows, columns]


def write_jpeg(path: Path, image_HWC: NDArray[np.uint8], *, quality: int) -> None:
    """Writes a JPEG, without waiting for the disk as `write_atomic` does: there are thousands. Raises StorageError."""
    with storage.writing(path):
        Image.fromarray(image_HWC).save(path, "JPEG", quality=quality, subsampling=0 if quality >= 95 else -1)
