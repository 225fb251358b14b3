"""Published SegFormers on MiT and on FAN."""

from __future__ import annotations

import re

from parity.families import fan
from parity.segmenter import SegmenterChecker

CHECKER = SegmenterChecker(noise=tuple(re.compile(rf"backbone\.{each.pattern}") for each in fan.CHECKER.noise))
