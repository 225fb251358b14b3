"""The head on frozen features: each picture is embedded once, then a head is a matter of milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from espalier.errors import Problem, SpecError
from espalier.layers.module_backend import evaluating
from espalier.networks.classifier.logistic import LinearHead, fit_head
from espalier.networks.classifier.model import Classifier

if TYPE_CHECKING:
    from espalier.tasks.base import Sample
    from espalier.vision.prepare import Prepare


class Probe:
    """A `networks.card.Probe`: logistic regression on the vectors that the classifier's head sees."""

    def __init__(self, model: Classifier, prepare: Prepare, *, device: str | torch.device = "cpu") -> None:
        if len(model.head) != 2:  # dropout and the last layer
            fix = "set network.hidden to 0, or fine-tune"
            raise SpecError(Problem("network.hidden", "frozen features need a linear head", fix=fix))
        self.model = model.to(device)
        self.prepare = prepare
        self.device = device

    def embed(
        self, samples: Sequence[Sample], *, batch_size: int = 16, tick: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Features (N, F), by the prepare that evaluation uses; `tick` is told how many are done."""
        parts = []
        with torch.no_grad(), evaluating(self.model):
            for image_BCHW in self._batches(samples, batch_size):
                features = self.model.embed(torch.from_numpy(image_BCHW).to(self.device))
                parts.append(features.float().cpu().numpy())
                if tick is not None:
                    tick(sum(map(len, parts)))
        return np.concatenate(parts) if parts else np.zeros((0, self.model.last.in_features), np.float32)

    def fit(
        self,
        features_NF: NDArray[Any],
        targets: Mapping[str, NDArray[Any]],
        *,
        groups: Sequence[str] = (),
        seed: int = 0,
    ) -> LinearHead:
        """The head for `class_C` (N, C) of the task; the penalty by an inner, group-aware cross-validation."""
        loss = self.model.loss
        weight_C = None if loss.weight_C is None else loss.weight_C.cpu().numpy()
        return fit_head(
            features_NF, targets["class_C"], multi_label=loss.multi_label, weight_C=weight_C, groups=groups, seed=seed
        )

    def outputs(self, head: LinearHead, features_NF: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """`logits` (N, C), as the model with this head gives them."""
        return {"logits": head.logits(features_NF)}

    def write(self, head: LinearHead) -> None:
        """The head into the model's last layer."""
        last = self.model.last
        with torch.no_grad():
            last.weight.copy_(torch.from_numpy(head.weight_CF))
            last.bias.copy_(torch.from_numpy(head.bias_C))

    def _batches(self, samples: Sequence[Sample], batch_size: int) -> Iterator[NDArray[np.float32]]:
        """Prepared batches; the next one is read by threads while the encoder works."""
        starts = range(0, len(samples), batch_size)
        with ThreadPoolExecutor(max_workers=2) as pool:
            waiting = None
            for start in starts:
                rows = range(start, min(start + batch_size, len(samples)))
                reading = [pool.submit(self._image, samples, row) for row in rows]
                if waiting is not None:
                    yield np.stack([future.result() for future in waiting])
                waiting = reading
            if waiting is not None:
                yield np.stack([future.result() for future in waiting])

    def _image(self, samples: Sequence[Sample], row: int) -> NDArray[np.float32]:
        image: NDArray[np.float32] = self.prepare(samples[row].query).arrays["image"]
        return image
