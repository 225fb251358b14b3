"""Detectors with object queries of which each brings the kernel of its own mask: DINO with masks."""

from __future__ import annotations

from espalier.tasks.detection.decoders import detr_sigmoid_v1
from espalier.tasks.instance.decoders.kernels import Outlining

DECODER = Outlining("detr_masks", 1, detr_sigmoid_v1.DECODER)
