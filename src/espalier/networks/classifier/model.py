"""The classifier as a module: encoder, pooling, head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from espalier import backbones
from espalier.backbones import Out
from espalier.layers.model import Batch, TrainableModel
from espalier.networks.classifier.loss import ClassifierLoss
from espalier.networks.classifier.spec import ClassifierSpec
from espalier.networks.input import bands, size_hw


def build(spec: ClassifierSpec, classes: Sequence[str]) -> Classifier:
    """A fresh classifier with random weights. Raises InputError for an unknown backbone."""
    return Classifier(spec, classes)


class Classifier(TrainableModel):
    """`image` (B, bands, H, W) to `logits` (B, C)."""

    def __init__(self, spec: ClassifierSpec, classes: Sequence[str]) -> None:
        super().__init__()
        out: Out = "embedding" if spec.pool == "backbone" else "features"
        self.backbone = backbones.create(
            spec.backbone.name,
            channels_in=bands(spec.input),
            out=out,
            size_hw=size_hw(spec.input),
            dilated=spec.backbone.dilation,
        )
        self.backbone.drop_paths(spec.backbone.drop_path)
        self.pool = _pool(spec)
        self.head = _head(self.backbone.channels[-1], len(classes), spec)
        self.loss = ClassifierLoss(spec.loss, classes, multi_label=spec.multi_label is True)

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # inputs by their names
        """The raw scores of each class."""
        return {"logits": self.head(self.embed(image))}

    def embed(self, image_BCHW: Tensor) -> Tensor:
        """What the head sees: one vector (B, F) a picture."""
        embedding: Tensor = self.pool(self.backbone(image_BCHW)[-1])
        return embedding

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The classification loss against `class_C`: one-hot, mixed or multi-hot."""
        logits_BC = self(**batch.inputs)["logits"]
        return {"total": self.loss(logits_BC, batch.targets["class_C"])}

    def head_prefixes(self) -> tuple[str, ...]:
        """The last layer alone has a row a class."""
        return (f"head.{len(self.head) - 1}.",)

    @property
    def last(self) -> nn.Linear:
        """The layer whose rows are the classes."""
        layer = self.head[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def adopt_head(self, leftover: Mapping[str, Tensor]) -> list[str]:
        """Takes the published classifier's rows when they fit this head exactly; the names of what was taken.

        `leftover` are the tensors of a weight file that are not the encoder's.
        """
        weights = {n.rpartition(".")[2]: (n, t) for n, t in leftover.items() if t.shape[:1] == self.last.bias.shape}
        if set(weights) != {"weight", "bias"} or weights["weight"][1].shape != self.last.weight.shape:
            return []
        with torch.no_grad():
            self.last.weight.copy_(weights["weight"][1])
            self.last.bias.copy_(weights["bias"][1])
        return [name for name, _ in weights.values()]


class GeneralisedMean(nn.Module):
    """(B, C, H, W) to (B, C): (mean of x^p)^(1/p) with a learnt p; 1 is the mean, infinity the maximum.

    Radenović, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", 2018, eq. 3.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.eps = eps

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The pooled vector; in float32, and relative to the largest value, since powers overflow."""
        floored = map_BCHW.float().clamp_min(self.eps)
        largest = floored.amax(dim=(2, 3), keepdim=True)
        mean = (floored / largest).pow(self.p).mean(dim=(2, 3))
        return (largest.flatten(1) * mean.pow(1 / self.p)).to(map_BCHW.dtype)


class Average(nn.Module):
    """(B, C, H, W) to (B, C): the mean over the map."""

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The pooled vector."""
        return map_BCHW.mean(dim=(2, 3))


class Maximum(nn.Module):
    """(B, C, H, W) to (B, C): the largest value of the map."""

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The pooled vector."""
        return functional.adaptive_max_pool2d(map_BCHW, 1).flatten(1)


def _pool(spec: ClassifierSpec) -> nn.Module:
    return {"backbone": nn.Identity, "avg": Average, "max": Maximum, "gem": GeneralisedMean}[spec.pool]()


def _head(features: int, classes: int, spec: ClassifierSpec) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Dropout(spec.dropout)]
    if spec.hidden:
        layers += [nn.Linear(features, spec.hidden), nn.GELU(), nn.Dropout(spec.dropout)]
    last = nn.Linear(spec.hidden or features, classes)
    nn.init.trunc_normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
