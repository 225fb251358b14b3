"""Boxes as tensors (…, 4): cx, cy, w, h relative to the picture for networks, corners for areas."""

from __future__ import annotations

import torch
from torch import Tensor


def to_corners(box_cxcywh: Tensor) -> Tensor:
    """x1, y1, x2, y2."""
    centre, size = box_cxcywh[..., :2], box_cxcywh[..., 2:]
    return torch.cat([centre - 0.5 * size, centre + 0.5 * size], dim=-1)


def to_centre(box_xyxy: Tensor) -> Tensor:
    """cx, cy, w, h."""
    low, high = box_xyxy[..., :2], box_xyxy[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def generalized_iou(a_xyxy: Tensor, b_xyxy: Tensor, *, eps: float = 0.0) -> Tensor:
    """GIoU of boxes that broadcast against each other, -1 to 1 (Rezatofighi et al., 2019).

    `eps` is added to both denominators. Without it two empty boxes give NaN.
    """
    overlap, union = _overlap_and_union(a_xyxy, b_xyxy)
    hull = _area(torch.minimum(a_xyxy[..., :2], b_xyxy[..., :2]), torch.maximum(a_xyxy[..., 2:], b_xyxy[..., 2:]))
    return overlap / (union + eps) - (hull - union) / (hull + eps)


def iou(a_xyxy: Tensor, b_xyxy: Tensor, *, eps: float) -> Tensor:
    """Intersection over union, 0 to 1, of boxes that broadcast against each other; `eps` is added to the union."""
    overlap, union = _overlap_and_union(a_xyxy, b_xyxy)
    return overlap / (union + eps)


def share_inside(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """The share of a's own area that lies in b, of boxes that broadcast against each other; 0 for an empty a."""
    overlap = _overlap(a_xyxy, b_xyxy)
    area = _area(a_xyxy[..., :2], a_xyxy[..., 2:])
    return overlap / area.clamp(min=torch.finfo(area.dtype).tiny)


def inverse_sigmoid(value: Tensor, *, eps: float) -> Tensor:
    """The logit of a share; numerator and denominator are at least `eps`."""
    share = value.clamp(0, 1)
    return torch.log(share.clamp(min=eps) / (1 - share).clamp(min=eps))


def _overlap_and_union(a_xyxy: Tensor, b_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    overlap = _overlap(a_xyxy, b_xyxy)
    return overlap, _area(a_xyxy[..., :2], a_xyxy[..., 2:]) + _area(b_xyxy[..., :2], b_xyxy[..., 2:]) - overlap


def _overlap(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    return _area(torch.maximum(a_xyxy[..., :2], b_xyxy[..., :2]), torch.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:]))


def _area(low: Tensor, high: Tensor) -> Tensor:
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height
