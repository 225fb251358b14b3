"""Splits: sizes, strata, groups, near-duplicates, folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.data.index import Index, assemble
from espalier.data.split import folds, parts, split
from espalier.errors import DataError


def labelled(class_id: list[int], *, group: list[str] | None = None, classes: int | None = None) -> Index:
    count = len(class_id)
    names = [f"c{n}" for n in range(classes or max(class_id) + 1)]
    return assemble(
        root="", source="set", format="made", paths=[f"{n}.png" for n in range(count)], classes=names,
        image_row=np.arange(count), class_id=np.array(class_id), group=group,
    )  # fmt: skip


def test_sizes_and_strata_are_exact_where_they_can_be() -> None:
    index = labelled([0] * 50 + [1] * 30 + [2] * 20)
    train, held = split(index, 0.2, seed=0, near_duplicates=False)
    assert sorted([*train, *held]) == list(range(100))
    assert np.bincount(index.class_id[held]).tolist() == [10, 6, 4]
    again = split(index, 0.2, seed=0, near_duplicates=False)[1]
    other = split(index, 0.2, seed=1, near_duplicates=False)[1]
    assert held.tolist() == again.tolist()
    assert held.tolist() != other.tolist()


@pytest.mark.parametrize(("counts", "held_out"), [([40, 2], [8, 1]), ([40, 1], [8, 0]), ([40, 3, 4], [8, 1, 1])])
def test_a_rare_class_is_on_both_sides_when_it_has_two_pictures(counts: list[int], held_out: list[int]) -> None:
    index = labelled([c for c, count in enumerate(counts) for _ in range(count)])
    _, held = split(index, 0.2, seed=3, near_duplicates=False)
    assert np.bincount(index.class_id[held], minlength=len(counts)).tolist() == held_out


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), min_size=12, max_size=60),
    st.integers(0, 5),
    st.integers(2, 4),
)
def test_groups_stay_whole_and_nothing_is_lost(items: list[tuple[int, int]], seed: int, k: int) -> None:
    index = labelled([c for c, _ in items], group=[f"g{g}" for _, g in items], classes=4)
    groups = np.array([g for _, g in items])
    if len(set(groups.tolist())) < k:
        with pytest.raises(DataError, match="independent groups"):
            folds(index, k, 1, seed, near_duplicates=False)
        return
    found = folds(index, k, 2, seed, near_duplicates=False)
    assert len(found) == 2 * k
    for train, held in found:
        assert sorted([*train, *held]) == list(range(len(items)))
        assert len(held) > 0
        assert not set(groups[train]) & set(groups[held])
    for repeat in (found[:k], found[k:]):
        assert sorted(np.concatenate([held for _, held in repeat]).tolist()) == list(range(len(items)))


def test_folds_are_stratified_and_differ_between_repeats() -> None:
    index = labelled([0] * 40 + [1] * 20)
    found = folds(index, 5, 2, 0, near_duplicates=False)
    assert {tuple(np.bincount(index.class_id[held]).tolist()) for _, held in found} == {(8, 4)}
    assert {tuple(held) for _, held in found[:5]}.isdisjoint({tuple(held) for _, held in found[5:]})


def test_an_empty_group_name_is_no_group() -> None:
    index = labelled([0] * 10, group=[""] * 10)
    assert len(split(index, 0.3, seed=0, near_duplicates=False)[1]) == 3


def test_three_parts() -> None:
    index = labelled([0] * 60 + [1] * 40)
    sizes = [len(rows) for rows in parts(index, (0.7, 0.2, 0.1), seed=0, near_duplicates=False)]
    assert sizes == [70, 20, 10]


def test_several_labels_a_picture() -> None:
    rng = np.random.default_rng(0)
    shown = rng.random((200, 4)) < (0.5, 0.3, 0.1, 0.05)
    rows, class_id = np.nonzero(shown)
    index = assemble(root="", source="s", format="made", paths=[f"{n}" for n in range(200)], classes=list("abcd"),
                     image_row=rows, class_id=class_id)  # fmt: skip
    _, held = split(index, 0.25, seed=0, near_duplicates=False)
    assert abs(len(held) - 50) <= 2
    np.testing.assert_allclose(index.subset(held).picture_counts(), shown.sum(axis=0) * 0.25, atol=3)


def test_near_duplicates_stay_together(tmp_path: Path) -> None:
    from PIL import Image

    from espalier.data.formats import read_index

    rng = np.random.default_rng(0)
    for n in range(8):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
            (64, 48), Image.Resampling.BICUBIC
        )
        for version in ("a.png", "b.jpg"):
            (tmp_path / f"c{n % 2}").mkdir(exist_ok=True)
            coarse.save(tmp_path / f"c{n % 2}" / f"{n}{version}")
    index = read_index(str(tmp_path))
    train, held = split(index, 0.25, seed=0)
    key = np.array([Path(path).name[0] for path in index.paths])
    assert len(held) == 4
    assert not set(key[train]) & set(key[held])


def test_everything_in_one_group_can_not_be_split() -> None:
    with pytest.raises(DataError, match="4 pictures make 1 independent groups, 2 are needed"):
        split(labelled([0, 0, 1, 1], group=["g"] * 4), 0.2, seed=0, near_duplicates=False)
