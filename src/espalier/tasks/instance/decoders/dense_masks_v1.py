"""Dense detectors of which each cell brings the kernel of its own mask: FCOS with masks."""

from __future__ import annotations

from espalier.tasks.detection.decoders import dense_sigmoid_v1
from espalier.tasks.instance.decoders.kernels import Outlining

DECODER = Outlining("dense_masks", 1, dense_sigmoid_v1.DECODER)
