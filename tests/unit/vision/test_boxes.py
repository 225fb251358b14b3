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


def test_doubles_by_hand() -> None:
    box_N4 = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [0, 0, 10, 10], [0, 0, 10, 4]])
    class_N = np.array([0, 0, 0, 1, 0])
    assert boxes.without_doubles(box_N4, class_N, 0.6).tolist() == [0, 2, 3, 4]  # 90 / 110 is a double, 40 / 100 none
    assert boxes.without_doubles(box_N4, class_N, 0.9).tolist() == [0, 1, 2, 3, 4]
    assert boxes.without_doubles(box_N4, class_N, 0.6, most=2).tolist() == [0, 2]
    assert boxes.without_doubles(box_N4[:0], class_N[:0], 0.6).tolist() == []


def test_doubles_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    corner_N2, class_N = rng.uniform(0, 60, (200, 2)), rng.integers(0, 2, 200)
    box_N4 = np.concatenate([corner_N2, corner_N2 + rng.uniform(0, 40, (200, 2))], 1).astype(np.float32)
    overlap_NN, kept = boxes.iou(box_N4, box_N4), list[int]()
    for n in range(200):
        if not any(class_N[n] == class_N[m] and overlap_NN[n, m] > 0.5 for m in kept):
            kept.append(n)
    assert boxes.without_doubles(box_N4, class_N, 0.5).tolist() == kept


def test_a_double_of_a_double_stays() -> None:
    box_N4 = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]])  # overlaps of 2/3, and of 3/7 with the first
    assert boxes.without_doubles(box_N4, np.zeros(3, np.int64), 0.6).tolist() == [0, 2]
