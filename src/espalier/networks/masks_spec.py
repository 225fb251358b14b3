"""The knobs of detectors that can outline each object, too."""

from __future__ import annotations

from espalier.networks.detector_spec import DetectorSpec
from espalier.spec.fields import Model, knob


class MaskLossSpec(Model):
    """Weights of the masks' loss."""

    mask_weight: float = knob(2.0, "Weight of the cross entropy of the masks' points", ge=0, le=100)
    dice_weight: float = knob(2.0, "Weight of the Dice loss of the masks' points", ge=0, le=100)
    mask_points: int = knob(1024, "Points of an object at which its masks are scored, about", ge=8, le=65536)


class OutliningSpec(DetectorSpec):
    """A detector with a switch for masks."""

    masks: bool = knob(False, "Outline each object, too: the network then does the task instance")
    mask_width: int = knob(
        32, "With masks: channels of the map that each answer's kernel is multiplied with", ge=4, le=512
    )
