"""The knobs that detectors share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from espalier.networks.detector_rules import CHECKS, RULES
from espalier.spec.fields import Auto, knob
from espalier.spec.sections import NetworkSpec


class DetectorSpec(NetworkSpec):
    """A backbone, and what reads several levels of its maps."""

    rules: ClassVar[Mapping[str, Any]] = RULES
    checks: ClassVar[tuple[Any, ...]] = CHECKS

    largest_px: int = knob(
        640,
        "What network.input.size_hw: auto makes of larger pictures: the side of the input",
        unit="px",
        ge=32,
        le=16384,
    )
    levels: int = knob(4, "Levels of maps that are looked at; those the backbone lacks are added", ge=1, le=8)
    finest_stride: Literal[4, 8, 16, 32] = knob(
        8, "Stride of the finest map taken of the backbone, before dilation", unit="px"
    )
    freeze_batch_norm: bool | Auto = knob("auto", "Keep the backbone's batch norms as they were published")
    detections: int = knob(100, "Best answers that are kept of a picture", ge=1, le=10_000)
