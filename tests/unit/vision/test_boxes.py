"""Box maths against values worked by hand."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from espalier.vision import boxes

A = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [5, 5, 5, 9], [3, 3, 1, 1]], np.float32)


def test_area_is_never_negative() -> None:
    assert_array_equal(boxes.area(A), [16, 16, 0, 0])


def test_iou_by_hand() -> None:
    assert_allclose(boxes.iou(A[:2], A[:3]), [[1, 4 / 28, 0], [4 / 28, 1, 0]])
    assert_array_equal(boxes.iou(A[2:], A[2:]), np.zeros((2, 2)))


def test_a_crowd_divides_by_the_box_alone() -> None:
    assert_allclose(boxes.iou(A[:1], A[1:2], crowd_M=np.array([True])), [[4 / 16]])


def test_clip() -> None:
    assert_array_equal(boxes.clip(np.array([[-3, -3, 9, 2], [8, 8, 9, 9]]), (5, 6)), [[0, 0, 6, 2], [6, 5, 6, 5]])


def test_forms_and_back() -> None:
    assert_array_equal(boxes.xywh_from_xyxy(A[1:2]), [[2, 2, 4, 4]])
    assert_array_equal(boxes.cxcywh_from_xyxy(A[1:2]), [[4, 4, 4, 4]])
    assert_array_equal(boxes.xyxy_from_xywh(boxes.xywh_from_xyxy(A)), A)
    assert_array_equal(boxes.xyxy_from_cxcywh(boxes.cxcywh_from_xyxy(A)), A)
    assert boxes.iou(A[:0], A).shape == (0, 4)
