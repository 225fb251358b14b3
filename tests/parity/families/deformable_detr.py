"""Published Deformable DETR detectors."""

from __future__ import annotations

from espalier.networks.deformable_detr import model
from espalier.networks.deformable_detr.official import FAMILY
from parity.detector import DetectorFamily
from parity.detector_check import DetectorChecker

CHECKER = DetectorChecker(DetectorFamily("deformable_detr", FAMILY, model, first="enc/", function="models.build_model"))
