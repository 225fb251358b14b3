"""One scoring for all segmenters: the house's counts, with intervals over pictures."""

from __future__ import annotations

from collections.abc import Sequence

from espalier.blocks import Figure
from espalier.data.index import Index
from espalier.data.samples import Samples
from espalier.tasks import base as tasks
from espalier.tasks.segmentation.figures import class_figures, with_intervals
from espalier.tasks.segmentation.metrics import SegmentationMetrics
from espalier.tasks.segmentation.prediction import SegmentMap
from segmenters.nuclei import NUCLEUS

SHOWN = ("IoU of nuclei", "mIoU", "boundary IoU")


def scored(said: Sequence[SegmentMap], test: Index, *, bootstrap: int = 1000) -> dict[str, Figure]:
    """The figures of `SHOWN`."""
    metrics = SegmentationMetrics(test.classes)
    metrics.update(said, list(Samples(test, tasks.get("segmentation"))))
    kept = metrics.kept()
    whole = with_intervals(kept, bootstrap=bootstrap, seed=0)
    nuclei = class_figures(kept, bootstrap=bootstrap, seed=0)["iou"][NUCLEUS]
    assert nuclei is not None
    return dict(zip(SHOWN, (nuclei, whole["miou"], whole["boundary_iou"]), strict=True))


def shown(figure: Figure) -> str:
    """A share in per cent and its interval."""
    value = f"{100 * figure.value:.1f} %"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
