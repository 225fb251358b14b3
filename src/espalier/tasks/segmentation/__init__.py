"""Semantic segmentation: which class every pixel of the picture is of."""

from __future__ import annotations

from espalier.tasks.segmentation.prediction import SegmentMap
from espalier.tasks.segmentation.sample import SegmentationTarget
from espalier.tasks.segmentation.task import TASK

__all__ = ["TASK", "SegmentMap", "SegmentationTarget"]
