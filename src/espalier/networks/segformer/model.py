"""SegFormer (Xie et al., 2021): any encoder with maps of several strides, and an all-MLP decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from espalier import backbones
from espalier.backbones import BackboneFacts, Out
from espalier.layers.mlp_decoder import MlpDecoder
from espalier.layers.model import Batch, TrainableModel
from espalier.networks.input import bands, size_hw
from espalier.networks.segformer.loss import SegmentationLoss
from espalier.networks.segformer.rules import width_on
from espalier.networks.segformer.spec import SegformerSpec

STRIDE = 4  # of the logits
BYTE_CLASSES = 255
"""More need 16 bits: 255 stays free, since masks use it for what is ignored."""


def build(spec: SegformerSpec, classes: Sequence[str]) -> Segformer:
    """A fresh segmenter with random weights. Raises InputError for an unknown backbone."""
    return Segformer(spec, classes)


def maps_of(encoder: BackboneFacts) -> Out:
    """Which of an encoder's maps the decoder reads: those of published dense models, where they begin finely enough."""
    return "dense" if encoder.dense_strides and min(encoder.dense_strides) <= STRIDE else "pyramid"


class Segformer(TrainableModel):
    """`image` (B, bands, H, W) to `logits` (B, C, ⌈H/4⌉, ⌈W/4⌉) and `class` (B, H, W), uint8 or uint16 ids.

    A pixel's class is the largest of the logits there, made as large as the picture (bilinear, align_corners False).
    """

    def __init__(self, spec: SegformerSpec, classes: Sequence[str]) -> None:
        super().__init__()
        facts = backbones.describe(spec.backbone.name)
        self.backbone = backbones.create(
            spec.backbone.name,
            channels_in=bands(spec.input),
            out=maps_of(facts),
            size_hw=size_hw(spec.input),
            dilated=spec.backbone.dilation,
        )
        self.backbone.drop_paths(spec.backbone.drop_path)
        width = width_on(facts) if isinstance(spec.width, str) else spec.width
        self.decoder = MlpDecoder(self.backbone.channels, width, len(classes), dropout=spec.dropout)
        self.coarse = self.backbone.strides[0] > STRIDE
        self.id_type = torch.uint8 if len(classes) <= BYTE_CLASSES else torch.uint16
        self.loss = SegmentationLoss(spec.loss, classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # inputs by their names
        """The logits at stride 4, and every pixel's class."""
        logits_BChw = self.logits(image)
        raised_BCHW = functional.interpolate(logits_BChw, size=image.shape[2:], mode="bilinear", align_corners=False)
        return {"logits": logits_BChw, "class": raised_BCHW.argmax(1).to(self.id_type)}

    def logits(self, image_BCHW: Tensor) -> Tensor:
        """(B, C, ⌈H/4⌉, ⌈W/4⌉)."""
        logits_BChw: Tensor = self.decoder(self.backbone(image_BCHW))
        if not self.coarse:
            return logits_BChw
        height, width = ((side + STRIDE - 1) // STRIDE for side in image_BCHW.shape[2:])
        return functional.interpolate(logits_BChw, size=(height, width), mode="bilinear", align_corners=False)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss's terms against `class_HW`, ids at the input's size; what is no class is ignored."""
        terms: dict[str, Tensor] = self.loss(self.logits(batch.inputs["image"]), batch.targets["class_HW"])
        return terms

    def head_prefixes(self) -> tuple[str, ...]:
        """The last layer alone has a row a class."""
        return ("decoder.classify.",)
