from __future__ import annotations

import numpy as np

from espalier.explainer.rise import random_map, random_masks, rise


def test_it_finds_the_quarter_that_decides(look, quarter_lit, bright):
    (map_HW,) = rise(look(quarter_lit), [bright], masks=200, cells=4, seed=0)
    quarter, rest = map_HW[:12, :12], np.concatenate([map_HW[24:].ravel(), map_HW[:24, 24:].ravel()])
    assert quarter.min() > rest.max()
    assert quarter.mean() > 5 * abs(rest.mean())


def test_where_hiding_changes_nothing_there_is_no_map(look, bright):
    view = look(np.full((32, 32, 3), 128, np.uint8))
    (map_HW,) = rise(view, [bright], masks=20, cells=4, seed=0)  # grey on grey: hiding changes nothing
    assert np.abs(map_HW).max() < 1e-6


def test_the_same_seed_gives_the_same_map(look, quarter_lit, bright):
    a, b, c = (rise(look(quarter_lit), [bright], masks=20, cells=4, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_masks_come_in_opposites_and_keep_half(look):
    masks = list(random_masks((12, 20), pairs=3, cells=4, seed=0))
    assert len(masks) == 6
    assert all(mask.shape == (12, 20) and 0 <= mask.min() <= mask.max() <= 1 for mask in masks)
    assert np.allclose(masks[0] + masks[1], 1)
    assert np.allclose(np.mean(masks, axis=0), 0.5)


def test_two_targets_share_the_masks(look, quarter_lit, bright):
    from espalier.tasks.classification.explained import target

    view = look(quarter_lit)
    first, second = rise(view, [bright, target(1, ("bright", "dark"))], masks=20, cells=4, seed=0)
    assert sum(view.predictor.backend.batches) == 20
    assert np.allclose(first, -second, atol=1e-5)  # two classes: one gains what the other loses


def test_random_maps_differ_and_repeat():
    assert np.array_equal(random_map((8, 9), cells=3, seed=(0, 1)), random_map((8, 9), cells=3, seed=(0, 1)))
    assert not np.array_equal(random_map((8, 9), cells=3, seed=(0, 1)), random_map((8, 9), cells=3, seed=(0, 2)))
