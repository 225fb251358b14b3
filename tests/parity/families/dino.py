"""Published DINO detectors."""

from __future__ import annotations

from espalier.networks.dino import model
from espalier.networks.dino.official import FAMILY
from parity.detector import DetectorFamily
from parity.detector_check import DetectorChecker

CHECKER = DetectorChecker(DetectorFamily("dino", FAMILY, model, first="interm/", function="build_dino"))
