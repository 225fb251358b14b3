"""Detection: which objects are in the picture, and where."""

from __future__ import annotations

from espalier.tasks.detection.prediction import Detections
from espalier.tasks.detection.sample import DetectionTarget
from espalier.tasks.detection.task import TASK

__all__ = ["TASK", "DetectionTarget", "Detections"]
