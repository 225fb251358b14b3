"""Other people's detectors on the house's start weights, pictures and random changes: only the detector differs.

torchvision's RetinaNet and Faster R-CNN see the encoder through torchvision's feature pyramid, RT-DETR (transformers)
by its own. All get the batches of the house's loader.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from espalier.data.loader import LoadedBatch
from espalier.networks.detector import Detector

MOST = 100  # boxes of a picture
LEAST_SCORE = 0.01
WIDTH = 256

Found = tuple[Tensor, Tensor, Tensor]  # boxes (n, 4) in pixels of the input, scores, class ids


class Peer(ABC, nn.Module):
    """A detector of someone else."""

    lr = 2e-4
    backbone_lr_ratio = 0.5
    weight_decay = 1e-4

    @abstractmethod
    def loss(self, batch: LoadedBatch) -> Tensor:
        """What is minimised."""

    @abstractmethod
    def found(self, image_BCHW: Tensor) -> list[Found]:
        """The boxes of each picture."""

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW, the encoder slower than what starts from random weights."""
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for name, p in named if (".encoder_maps." in name) is encoder], "lr": rate}
            for encoder, rate in ((True, self.lr * self.backbone_lr_ratio), (False, self.lr))
        ]
        return torch.optim.AdamW(groups, weight_decay=self.weight_decay)


class Maps(nn.Module):
    """The encoder's maps at strides 8, 16 and 32."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.encoder_maps, self.taken = network.backbone, tuple(network.taken)
        self.channels = [network.backbone.channels[n] for n in self.taken]

    def forward(self, image_BCHW: Tensor) -> list[Tensor]:
        """Finest first."""
        maps = self.encoder_maps(image_BCHW)
        return [maps[n] for n in self.taken]


class Pyramid(nn.Module):
    """torchvision's feature pyramid over the maps."""

    def __init__(self, maps: Maps, more: Any) -> None:
        super().__init__()
        self.maps, self.out_channels = maps, WIDTH
        self.pyramid = FeaturePyramidNetwork(maps.channels, WIDTH, more)

    def forward(self, image_BCHW: Tensor) -> OrderedDict[str, Tensor]:
        """By name, finest first."""
        found: OrderedDict[str, Tensor] = self.pyramid(OrderedDict(enumerate(self.maps(image_BCHW))))
        return OrderedDict((str(n), value) for n, value in enumerate(found.values()))


class AsTheyCome(nn.Module):
    """In the place of torchvision's resizing and normalising: the batches of the house are ready."""

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        """The pictures in one batch."""
        return ImageList(torch.stack(images), [tuple(image.shape[-2:]) for image in images]), targets

    def postprocess(self, found: Any, sizes: Any, originals: Any) -> Any:
        """As it is."""
        return found


class OfTorchvision(Peer):
    """Either of torchvision's detectors. Class 0 is the background where the detector asks for one."""

    def __init__(self, model: nn.Module, *, first_class: int) -> None:
        super().__init__()
        self.model, self.first_class = model, first_class
        model.transform = AsTheyCome()

    def loss(self, batch: LoadedBatch) -> Tensor:
        """The sum of its terms."""
        terms = self.model.train()(list(batch.inputs["image"]), self._targets(batch))
        return torch.stack(list(terms.values())).sum()

    def _targets(self, batch: LoadedBatch) -> list[dict[str, Tensor]]:
        pairs = zip(batch.targets["box_N4"], batch.targets["class_N"], batch.inputs["valid_hw"], strict=True)
        return [{"boxes": in_pixels(box, valid), "labels": class_N + self.first_class} for box, class_N, valid in pairs]

    @torch.no_grad()
    def found(self, image_BCHW: Tensor) -> list[Found]:
        """After its own suppression of doubles."""
        said = self.model.eval()(list(image_BCHW))
        return [(one["boxes"], one["scores"], one["labels"] - self.first_class) for one in said]


def retinanet(maps: Maps, classes: int) -> Peer:
    """RetinaNet, anchors from 32 px at stride 8 on, as published."""
    pyramid = Pyramid(maps, LastLevelP6P7(WIDTH, WIDTH))
    sizes = tuple((s, round(s * 2 ** (1 / 3)), round(s * 2 ** (2 / 3))) for s in (32, 64, 128, 256, 512))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    model = RetinaNet(pyramid, classes, anchor_generator=anchors, detections_per_img=MOST, score_thresh=LEAST_SCORE)
    return OfTorchvision(model, first_class=0)


def faster_rcnn(maps: Maps, classes: int) -> Peer:
    """Faster R-CNN, one anchor size a level."""
    pyramid = Pyramid(maps, LastLevelMaxPool())
    sizes = ((32,), (64,), (128,), (256,))
    model = FasterRCNN(
        pyramid,
        classes + 1,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        rpn_pre_nms_top_n_train=1000,
        rpn_post_nms_top_n_train=500,
        rpn_pre_nms_top_n_test=500,
        rpn_post_nms_top_n_test=300,
        box_batch_size_per_image=256,
        box_detections_per_img=MOST,
        box_score_thresh=LEAST_SCORE,
    )
    return OfTorchvision(model, first_class=1)


class RtDetr(Peer):
    """RT-DETR of transformers in the shape of its smallest published model (R18: three decoder layers)."""

    lr = 4e-4

    def __init__(self, maps: Maps, classes: int) -> None:
        super().__init__()
        from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig  # type: ignore[import-not-found]  # a peer

        stages = ["stage2", "stage3", "stage4"]
        shape = RTDetrResNetConfig(
            hidden_sizes=[32, *maps.channels], depths=[1, 1, 1, 1], layer_type="basic", out_features=stages
        )
        config = RTDetrConfig(
            backbone_config=shape,
            encoder_in_channels=list(maps.channels),
            decoder_layers=3,
            hidden_expansion=0.5,
            num_queries=300,
            num_labels=classes,
        )
        self.model = RTDetrForObjectDetection(config)
        self.model.model.backbone = WithMasks(maps)

    def loss(self, batch: LoadedBatch) -> Tensor:
        """Its own, denoising included."""
        labels = [
            {"class_labels": class_N, "boxes": in_whole(box, valid, batch.inputs["image"])}
            for class_N, box, valid in zip(
                batch.targets["class_N"], batch.targets["box_N4"], batch.inputs["valid_hw"], strict=True
            )
        ]
        loss: Tensor = self.model.train()(pixel_values=batch.inputs["image"], labels=labels).loss
        return loss

    @torch.no_grad()
    def found(self, image_BCHW: Tensor) -> list[Found]:
        """The best answers over queries and classes."""
        said = self.model.eval()(pixel_values=image_BCHW)
        height, width = image_BCHW.shape[-2:]
        score, place = said.logits.sigmoid().flatten(1).topk(MOST)
        classes = said.logits.shape[-1]
        box = said.pred_boxes.gather(1, (place // classes)[..., None].expand(-1, -1, 4))
        corners = torch.cat([box[..., :2] - box[..., 2:] / 2, box[..., :2] + box[..., 2:] / 2], -1)
        corners = corners * torch.tensor([width, height, width, height])
        return list(zip(corners, score, place % classes, strict=True))


class WithMasks(nn.Module):
    """The encoder as RT-DETR asks it: each map with its mask, which RT-DETR itself does not look at."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, image_BCHW: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Finest first."""
        return [
            (each, torch.ones(each.shape[:1] + each.shape[-2:], dtype=torch.bool)) for each in self.maps(image_BCHW)
        ]


def in_pixels(box_N4: Tensor, valid_hw: Tensor) -> Tensor:
    """Corners in pixels of the input, of boxes relative to its valid part."""
    height, width = valid_hw.tolist()
    low, high = box_N4[:, :2] - box_N4[:, 2:] / 2, box_N4[:, :2] + box_N4[:, 2:] / 2
    return torch.cat([low, high], 1) * torch.tensor([width, height, width, height], dtype=torch.float32)


def in_whole(box_N4: Tensor, valid_hw: Tensor, image_BCHW: Tensor) -> Tensor:
    """Boxes relative to the whole input, of boxes relative to its valid part."""
    height, width = valid_hw.tolist()
    share = [width / image_BCHW.shape[3], height / image_BCHW.shape[2]]
    return box_N4 * torch.tensor(share * 2, dtype=torch.float32)
