"""What detectors share: a backbone whose maps are read, padding that shows nothing, and the labelled objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from espalier import backbones
from espalier.layers.levels import padding_mask
from espalier.layers.mask_head import STRIDE, MaskHead
from espalier.layers.matching import Objects
from espalier.layers.model import Batch, TrainableModel
from espalier.layers.unsaid import Unsaid
from espalier.networks.input import bands, size_hw

if TYPE_CHECKING:
    from espalier.networks.detector_spec import DetectorSpec
    from espalier.networks.masks_spec import OutliningSpec


@dataclass(frozen=True)
class Maps:
    """The backbone's maps of the levels, finest first; the finer one that a head asked for; and what is padding."""

    levels: list[Tensor]
    fine_BCHW: Tensor | None
    padded_BHW: Tensor  # of the whole input


class Detector(TrainableModel):
    """A network's subclass says what becomes of the maps.

    A head may look at the backbone's map of `fine_stride`, too, where there is one.
    """

    def __init__(self, spec: DetectorSpec, *, fine_stride: int | None = None) -> None:
        super().__init__()
        facts = backbones.describe(spec.backbone.name)
        self.backbone = backbones.create(
            spec.backbone.name,
            channels_in=bands(spec.input),
            out="pyramid" if facts.dense_strides else "dense",  # published dense models may see no pyramid (FAN)
            size_hw=size_hw(spec.input),
            dilated=spec.backbone.dilation,
        )
        self.backbone.drop_paths(spec.backbone.drop_path)
        if spec.freeze_batch_norm is not False:  # as published while that is still open
            freeze_batch_norm(self.backbone)
        self.taken = [n for n, stride in enumerate(facts.strides) if stride >= spec.finest_stride][-spec.levels :]
        self.fine = next((n for n, stride in enumerate(facts.strides) if stride == fine_stride), None)
        self.backbone.drop_unused(self.taken if self.fine is None else sorted({self.fine, *self.taken}))
        self.channels = [self.backbone.channels[n] for n in self.taken]

    def maps(self, image_BCHW: Tensor, valid_hw: Tensor) -> Maps:
        """What the backbone sees of the pictures, whatever pads them."""
        padded_BHW = padding_mask(image_BCHW, valid_hw)
        maps = self.backbone(image_BCHW.masked_fill(padded_BHW[:, None], 0))
        return Maps([maps[n] for n in self.taken], None if self.fine is None else maps[self.fine], padded_BHW)

    def mask_head(self, spec: OutliningSpec, *, width: int) -> MaskHead | None:
        """What outlines objects, None where none are asked for; `width` are the channels of what answers say.

        It reads the finest level taken, and the backbone's map of stride 4 if `fine_stride` asked for that.
        """
        if not spec.masks:
            return None
        fine = None if self.fine is None else self.backbone.channels[self.fine]
        return MaskHead(fine, width, spec.mask_width, enlarge=self.backbone.strides[self.taken[0]] / STRIDE)


def labelled(batch: Batch) -> list[Objects]:
    """The objects of each picture: class ids, boxes relative to the valid picture, and what the labels don't say."""
    targets = batch.targets
    return [
        Objects(c, b, unsaid)
        for c, b, unsaid in zip(targets["class_N"], targets["box_N4"], _unsaid(targets, batch.size), strict=True)
    ]


def _unsaid(targets: Mapping[str, Any], pictures: int) -> list[Unsaid | None]:
    """What the labels of each picture say nothing of; targets without these arrays say everything."""
    names = ("ignored_class_K", "ignored_K4", "unlabelled_U")
    if any(name not in targets for name in names):
        return [None] * pictures
    return [
        Unsaid(regions, boxes, classes) if len(regions) or len(classes) else None
        for regions, boxes, classes in zip(*(targets[name] for name in names), strict=True)
    ]


def with_total(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The terms and their sum."""
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


def freeze_batch_norm(module: nn.Module) -> None:
    """Batch norms keep their published statistics and scales: a detector's batches are too small for new ones."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(module, name, _frozen(child))
        else:
            freeze_batch_norm(child)


def _frozen(norm: nn.BatchNorm2d) -> FrozenBatchNorm2d:
    frozen = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
    state = {name: value for name, value in norm.state_dict().items() if name != "num_batches_tracked"}
    frozen.load_state_dict(state)
    return frozen
