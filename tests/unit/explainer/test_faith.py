from __future__ import annotations

import numpy as np
import pytest

from espalier.explainer.faith import Faith, area, faith, ranks_of


def test_the_area_by_hand():
    assert area(np.array([1.0, 1.0])) == 1
    assert area(np.array([1.0, 0.0])) == 0.5
    assert area(np.array([1.0, 0.5, 0.0, 0.0])) == pytest.approx((0.75 + 0.25 + 0) / 3)
    assert Faith(np.array([1.0, 0.0]), np.array([1.0, 1.0])).both == 0.5


def test_ranks_go_from_the_most_marked():
    assert ranks_of(np.array([[0.1, 0.9], [0.5, -1.0]]), seed=0).tolist() == [[2, 0], [1, 3]]


def test_equal_pixels_are_not_taken_from_the_top():
    rank_HW = ranks_of(np.zeros((40, 40)), seed=0)
    assert sorted(rank_HW.ravel()) == list(range(1600))
    assert 600 < rank_HW[:20].mean() < 1000


def test_the_curves_of_a_perfect_map_by_hand(look, quarter_lit, bright):
    """A quarter of the pixels decides: after a quarter of four steps the perfect map has taken, or brought, it all."""
    view = look(quarter_lit)
    perfect_HW = np.zeros((32, 32))
    perfect_HW[:16, :16] = 1
    good, bad = faith(view, bright, [perfect_HW, -perfect_HW], steps=4, seed=0)
    whole, grey = good.deletion_S[0], good.deletion_S[4]
    assert whole == pytest.approx(view.answer.prediction.score_C[0])
    assert grey < 0.5 < whole
    assert good.deletion_S == pytest.approx([whole, grey, grey, grey, grey])
    assert bad.deletion_S == pytest.approx([whole, whole, whole, whole, grey])
    assert good.insertion_S[1:] == pytest.approx([whole] * 4)
    assert good.insertion_S[0] == pytest.approx(bad.insertion_S[0])
    assert bad.insertion_S[4] == pytest.approx(whole)
    assert good.both > bad.both
    assert good.deletion == pytest.approx((whole + 7 * grey) / 8)


def test_all_maps_go_through_in_full_batches(look, quarter_lit, bright):
    view = look(quarter_lit)
    assert len(faith(view, bright, [np.zeros((32, 32))] * 3, steps=4, seed=0)) == 3
    assert view.predictor.backend.batches == [7, 7, 7, 7, 2]  # 3 maps × 2 curves × 5 points
    assert faith(view, bright, [], steps=4, seed=0) == []
