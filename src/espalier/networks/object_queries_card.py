"""What the cards of detectors with object queries share. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from espalier.networks.card import DecodeRule
from espalier.networks.input import standard_prepare
from espalier.networks.object_queries_spec import ObjectQueriesSpec
from espalier.spec.sections import NetworkSpec
from espalier.vision.prepare import Prepare, ValidInput

Arrays = Mapping[str, NDArray[Any]]


def prepare(spec: NetworkSpec) -> Prepare:
    """One image, and which part of it is no padding; a thin one is padded until it has cells enough for the queries."""
    assert isinstance(spec, ObjectQueriesSpec)
    plain = Prepare(standard_prepare(spec).inputs, valid=(ValidInput(),))
    return plain.at_least(least_side_px(spec)) if spec.picks_queries else plain


COARSEST_STRIDE = 32
"""Of the usual backbones' maps; one that stops before has more cells."""


def least_side_px(spec: ObjectQueriesSpec) -> int:
    """The side of the smallest square picture that has as many cells as there are queries, in steps of the stride."""
    finest = max(spec.finest_stride, COARSEST_STRIDE >> (spec.levels - 1))
    strides = [finest << level for level in range(spec.levels)]
    side = finest
    while sum((-(-side // stride)) ** 2 for stride in strides) < spec.queries:
        side += finest
    return side


def decode(spec: NetworkSpec) -> DecodeRule:
    """The best answers over queries and classes."""
    assert isinstance(spec, ObjectQueriesSpec)
    return DecodeRule("detr_sigmoid", 1, {"top": spec.detections})


def match_outputs(expected: Arrays, found: Arrays) -> Arrays:
    """`found` with its queries in the order of `expected`: chosen tokens of nearly equal scores may change places."""
    order_BQ = np.stack([_pairs(*sides) for sides in zip(*(_rows(each) for each in (expected, found)), strict=True)])
    return {name: _ordered(value, order_BQ) if name in BY_QUERY else value for name, value in found.items()}


BY_QUERY = ("logits", "boxes", "mask_kernels")
"""The outputs with a row a query."""


def _ordered(value_BQx: NDArray[Any], order_BQ: NDArray[np.int64]) -> NDArray[Any]:
    return np.take_along_axis(value_BQx, order_BQ[..., None], 1)


def _rows(outputs: Arrays) -> NDArray[np.float64]:
    """(B, Q, 4 + C): what a query says, in one row."""
    return np.concatenate([outputs["boxes"], outputs["logits"]], -1).astype(np.float64)


def _pairs(expected_QF: NDArray[np.float64], found_QF: NDArray[np.float64]) -> NDArray[np.int64]:
    if np.allclose(expected_QF, found_QF, atol=1e-3):
        return np.arange(len(expected_QF))  # in order already
    return np.asarray(linear_sum_assignment(cdist(expected_QF, found_QF, "chebyshev"))[1], np.int64)
