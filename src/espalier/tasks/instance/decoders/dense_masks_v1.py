"""Dense detectors of which each cell brings the kernel of its own mask: FCOS with masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from espalier.tasks.detection.decoders import dense_sigmoid_v1
from espalier.tasks.instance.decoders.kernels import outlined
from espalier.tasks.instance.prediction import Instances
from espalier.vision.geometry import Geometry


class DenseMasks:
    """The boxes of `dense_sigmoid` version 1, with its parameters, each with the mask of `kernels.outlined`."""

    name = "dense_masks"
    version = 1

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],
        geometries: Sequence[Geometry],
        classes: Sequence[str],
        params: Mapping[str, Any],
    ) -> list[Instances]:
        return outlined(dense_sigmoid_v1.DECODER(outputs, geometries, classes, params), outputs, geometries, params)


DECODER = DenseMasks()
