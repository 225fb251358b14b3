from __future__ import annotations

import numpy as np

from espalier.tasks.base import ImageQuery
from espalier.vision.corruptions import parse
from espalier.vision.corruptions.queries import corrupt_placed


def test_the_picture_as_it_is_gets_the_predictors_own_answer(look, quarter_lit):
    view = look(quarter_lit)
    assert np.array_equal(view.answer.prediction.score_C, view.predictor([view.query])[0].score_C)


def test_all_kept_is_the_picture_and_nothing_kept_is_what_takes_its_place(look, quarter_lit):
    view = look(quarter_lit)
    assert np.array_equal(view.kept(np.ones((32, 32)), view.grey()), view.image_HWC)
    nothing_HWC = view.kept(np.zeros((32, 32)), view.grey())
    assert np.ptp(nothing_HWC.reshape(-1, 3), axis=0).tolist() == [0, 0, 0]
    assert nothing_HWC[0, 0, 0] == round(quarter_lit[..., 0].mean())


def test_padding_is_never_changed(look):
    view = look(np.full((16, 32, 3), 200, np.uint8), fit="letterbox")
    assert view.size_hw == (16, 32)
    changed_HWC = view.kept(np.zeros((16, 32)), np.zeros((1, 1, 3), np.float32))
    assert np.array_equal(changed_HWC[16:], view.image_HWC[16:])
    assert not changed_HWC[:16].any()


def test_sixteen_bit_stays_sixteen_bit(look):
    view = look(np.full((32, 32, 3), 40_000, np.uint16))
    assert view.kept(np.ones((32, 32)), view.grey()).dtype == np.uint16
    assert view.kept(np.zeros((32, 32)), view.grey()).max() == 40_000


def test_changed_pictures_come_in_full_batches(look, quarter_lit, bright):
    view = look(quarter_lit)
    scores = list(view.scores([view.image_HWC] * 15, [bright]))
    assert view.predictor.backend.batches == [7, 7, 1]
    assert [score_TB.shape for score_TB in scores] == [(1, 7), (1, 7), (1, 1)]


def test_an_altered_picture_is_shown_as_the_network_sees_it(look, quarter_lit):
    clean = look(np.repeat(quarter_lit, 2, axis=1), fit="centre_crop")
    prepare = clean.predictor.prepare
    placed = corrupt_placed(clean.placed, prepare, parse("noise:5"), seed=0, key="x.png")
    view = type(clean)(clean.predictor, ImageQuery(clean.query.image_HWC, "x.png"), placed)
    shown_HWC = view.picture()
    assert shown_HWC.shape == (32, 64, 3)
    assert np.array_equal(shown_HWC[:, 16:48], placed.images["image"])  # the middle, at its own scale
    assert np.array_equal(shown_HWC[:, :16], clean.query.image_HWC[:, :16])  # not seen, not altered
