"""How `resolve` fills the classifier's own fields from the data."""

from __future__ import annotations

from typing import Any

from espalier.spec.facts import Facts
from espalier.spec.sections import Spec

MOST = 20.0
"""No class counts more than this many times as much as its share alone would give, however rare it is."""


def multi_label(spec: Spec, facts: Facts) -> tuple[bool | str, str]:
    """Several labels a picture where the data has them."""
    if facts.multi_label is None:
        return "auto", "the data is not known yet"
    if facts.multi_label:
        return True, "some pictures have several labels, or none"
    return False, "every picture has one label"


def balanced(spec: Spec, facts: Facts) -> tuple[tuple[float, ...] | str, str]:
    """Weights that make every class count alike: one label a picture n / (C n_c), several (n - n_c) / n_c."""
    if not facts.class_counts or not facts.n_train:
        return "balanced", "the data is not known yet"
    counts = [max(count, 1) for count in facts.class_counts]
    if _several(spec.network):
        weights = [(facts.n_train - count) / count for count in counts]
        reason = "absent over present pictures, for each class"
    else:
        weights = [sum(counts) / (len(counts) * count) for count in counts]
        reason = "all labels over each class's, so that rare classes count as much as frequent ones"
    return tuple(round(min(max(weight, 1 / MOST), MOST), 4) for weight in weights), reason


def _several(network: Any) -> bool:
    return network.multi_label is True
