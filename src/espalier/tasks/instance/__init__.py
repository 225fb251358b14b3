"""Instance masks: which objects are in the picture, and which pixels are theirs."""

from __future__ import annotations

from espalier.tasks.instance.prediction import Instances
from espalier.tasks.instance.sample import InstanceTarget
from espalier.tasks.instance.task import TASK

__all__ = ["TASK", "InstanceTarget", "Instances"]
