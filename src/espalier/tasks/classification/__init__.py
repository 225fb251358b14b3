"""Classification: which class is in the picture, or which classes are."""

from __future__ import annotations

from espalier.tasks.classification.prediction import Classification
from espalier.tasks.classification.sample import ClassificationTarget
from espalier.tasks.classification.task import TASK

__all__ = ["TASK", "Classification", "ClassificationTarget"]
