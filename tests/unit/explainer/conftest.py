"""A black box whose answer is known: how bright the top left quarter of the picture is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.explainer.view import View
from espalier.runtime.predictor import Predictor
from espalier.tasks import base as tasks
from espalier.tasks.base import ExplainTarget, ImageQuery
from espalier.tasks.classification.explained import target
from espalier.vision.prepare import standard_prepare

CLASSES = ("bright", "dark")


class Quarter:
    """logit of 'bright': 8 × the mean of the top left quarter, from -1 to 1; of 'dark' the opposite."""

    name, device = "quarter", "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        image_BCHW = inputs["image"]
        self.batches.append(len(image_BCHW))
        height, width = image_BCHW.shape[2] // 2, image_BCHW.shape[3] // 2
        value_B = 8 * (2 * image_BCHW[:, :, :height, :width].mean(axis=(1, 2, 3)) - 1)
        return {"logits": np.stack([value_B, -value_B], axis=1).astype(np.float32)}


@pytest.fixture
def bright() -> ExplainTarget:
    return target(0, CLASSES)


@pytest.fixture
def look() -> Callable[..., View]:
    """A picture before the quarter's model."""

    def made(image_HWC: NDArray[Any], *, size_hw: tuple[int, int] = (32, 32), fit: Any = "stretch") -> View:
        decode = tasks.get("classification").decoder("softmax", 1)
        prepare = standard_prepare(size_hw, fit=fit, crop_fraction=1.0)
        return View(Predictor(prepare, Quarter(), decode, CLASSES, {}, batch_size=7), ImageQuery(image_HWC, "x.png"))

    return made


@pytest.fixture
def quarter_lit() -> NDArray[np.uint8]:
    """A dark picture whose top left quarter is bright."""
    image_HWC = np.full((32, 32, 3), 20, np.uint8)
    image_HWC[:16, :16] = 250
    return image_HWC
