"""One picture before a model, and the model's answers to changed versions of it, by the path that evaluation takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from espalier.explainer.frames import resample, seen
from espalier.runtime.predictor import Predictor, PreparedBatch
from espalier.tasks.base import Answer, ExplainTarget
from espalier.vision.prepare import Placed

BLUR_SHARE = 1 / 20
"""Standard deviation of the blurred picture, over its longer side: coarse shades stay, what made the answer goes."""


class View:
    """A query placed in the network's input once; its pixels are then changed there and go on as ever.

    `placed` is the query in the network's pixels, where it was altered (corrupted); else that is made here.
    Only the part that shows the picture is changed: padding is left as evaluation has it. A query of several pictures
    is changed in its first.
    """

    def __init__(self, predictor: Predictor, query: Any, placed: Placed | None = None) -> None:
        self.predictor, self.query, self.is_altered = predictor, query, placed is not None
        self.placed = predictor.prepare.placed(query) if placed is None else placed
        self.part = predictor.prepare.inputs[0]
        self.image_HWC = self.placed.images[self.part.name]
        self.geometry = self.placed.geometries[self.part.name]
        self.arrays = predictor.prepare.finished(self.placed).arrays

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the part that shows the picture."""
        return self.geometry.valid_hw

    @property
    def shown_HWC(self) -> NDArray[Any]:
        """The part that shows the picture."""
        height, width = self.size_hw
        return self.image_HWC[:height, :width]

    def picture(self) -> NDArray[Any]:
        """The user's picture (H, W, C); of an altered one, in its pixels, what the network sees of it."""
        source_HWC: NDArray[Any] = getattr(self.query, f"{self.part.source}_HWC")
        if not self.is_altered:
            return source_HWC
        bands = [resample(self.shown_HWC[:, :, c], self.geometry) for c in range(self.shown_HWC.shape[2])]
        shown_HWC = np.rint(np.stack(bands, axis=2)).astype(self.image_HWC.dtype)
        if source_HWC.shape != shown_HWC.shape:
            return shown_HWC
        return np.where(seen(self.geometry)[:, :, None], shown_HWC, source_HWC)

    def grey(self) -> NDArray[np.float32]:
        """Nothing to see: the picture's mean colour (1, 1, C)."""
        return np.asarray(self.shown_HWC.mean(axis=(0, 1), keepdims=True), np.float32)

    def blurred(self) -> NDArray[np.float32]:
        """Hardly anything to see: the picture out of focus (H, W, C)."""
        sigma = BLUR_SHARE * max(self.size_hw)
        return np.asarray(
            ndimage.gaussian_filter(self.shown_HWC.astype(np.float32), (sigma, sigma, 0), mode="nearest"), np.float32
        )

    def kept(self, keep_HW: NDArray[Any], instead_HWC: NDArray[np.float32]) -> NDArray[Any]:
        """The placed picture where `keep_HW` is 1, `instead_HWC` where it is 0, mixed between."""
        shown_HWC = self.shown_HWC
        mixed_HWC = instead_HWC + (shown_HWC - instead_HWC) * keep_HW[:, :, None].astype(np.float32)
        changed_HWC = self.image_HWC.copy()
        height, width = self.size_hw
        changed_HWC[:height, :width] = np.rint(mixed_HWC).astype(changed_HWC.dtype)
        return changed_HWC

    @cached_property
    def answer(self) -> Answer:
        """What the model says of the picture as it is."""
        outputs, predictions = next(self.answers([self.image_HWC]))
        return Answer(outputs, predictions[0], self.geometry)

    def answers(self, images: Iterable[NDArray[Any]]) -> Iterator[tuple[dict[str, NDArray[Any]], Sequence[Any]]]:
        """(raw outputs, predictions) of each batch of changed pictures."""
        rest = iter(images)
        while chunk := list(islice(rest, self.predictor.batch_size)):
            batch = self._batch(chunk)
            outputs = self.predictor.backend.run(batch.inputs)
            yield outputs, self.predictor.decoded(batch, outputs)

    def scores(self, images: Iterable[NDArray[Any]], targets: Sequence[ExplainTarget]) -> Iterator[NDArray[np.float64]]:
        """(targets, batch) how strongly the model says each target, batch by batch."""
        for outputs, predictions in self.answers(images):
            yield np.stack([target.scores(outputs, predictions) for target in targets])

    def _batch(self, images: Sequence[NDArray[Any]]) -> PreparedBatch:
        count = len(images)
        inputs = {
            name: np.stack([self.part.pixels(image) for image in images])
            if name == self.part.name
            else np.repeat(array[None], count, axis=0)
            for name, array in self.arrays.items()
        }
        return PreparedBatch([self.query] * count, inputs, [self.geometry] * count)
