"""Which pictures a model may be scored on, and what it already knows of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espalier.actions import labelled
from espalier.data.formats import read_index
from espalier.data.split import split
from espalier.errors import DataError
from espalier.runs.run import Run
from espalier.spec.sections import Spec


@dataclass
class Info:
    """What a checkpoint records."""

    data_fingerprint: str


@dataclass
class Model:
    """As much of an open model as is asked here."""

    path: Path
    spec: Spec
    info: Info
    holds_out: bool = True
    classes: tuple[str, ...] = ("bars", "disc", "plain")


@pytest.fixture
def data(photos: Path, tmp_path: Path) -> Path:
    """The pictures, to be changed."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


def model_of(data: Path, *, seed: int = 0, holds_out: bool = True) -> Any:
    """A model that learnt from 80 % of the pictures, drawn by `seed`."""
    spec = Spec.model_validate({"seed": seed, "data": {"train": str(data), "near_duplicates": False}})
    index = read_index(str(data))
    kept, _ = split(index, spec.data.val_fraction, seed=seed, near_duplicates=False)
    return Model(data.parent / f"run-{seed}", spec, Info(index.subset(kept).fingerprint()), holds_out)


def test_what_was_held_out_is_unseen(data: Path) -> None:
    model = model_of(data)
    pictures = labelled.for_scoring(None, model)
    assert 0 < len(pictures.index) < 12
    assert pictures.held_out_by == model.path
    assert labelled.learnt_from(model, pictures.index) == 0


@pytest.mark.parametrize("field", ["evaluate.data", "explain.images"])
def test_the_way_out_is_a_field_of_the_verb_that_asks(data: Path, field: str) -> None:
    with pytest.raises(DataError, match=f"trained on all of these pictures\n.*{field}=PICTURES"):
        labelled.for_scoring(None, model_of(data, holds_out=False), split_name=field)


def test_a_set_that_changed_no_longer_tells_what_was_held_out(data: Path) -> None:
    model = model_of(data)
    shutil.copy(data / "disc" / "000.png", data / "disc" / "new.png")
    with pytest.raises(DataError, match="no longer known"):
        labelled.for_scoring(None, model)


def test_pictures_that_another_model_learnt_from_are_counted(data: Path) -> None:
    first, other = model_of(data), model_of(data, seed=1)
    pictures = labelled.for_scoring(None, first)
    names = {pictures.index.path(row) for row in range(len(pictures.index))}
    index = read_index(str(data))
    kept, _ = split(index, other.spec.data.val_fraction, seed=1, near_duplicates=False)
    expected = len(names & {index.path(int(row)) for row in kept})
    assert expected > 0
    run = Run.nowhere("compare")
    assert labelled.warn_of_seen(first, "A", pictures, run) == 0
    assert labelled.warn_of_seen(other, "B", pictures, run) == expected
    run.close()


def test_a_model_of_all_pictures_knows_them_all_and_no_others(data: Path, tmp_path: Path) -> None:
    model = model_of(data, holds_out=False)
    assert labelled.learnt_from(model, read_index(str(data))) == 36
    elsewhere = Path(shutil.copytree(data, tmp_path / "others"))
    assert labelled.learnt_from(model, read_index(str(elsewhere))) == 0
    some = read_index(str(data)).subset(np.arange(5))
    assert labelled.learnt_from(model, some) == 5
    shutil.rmtree(data)
    assert labelled.learnt_from(model, some) == 0


def test_a_bundle_alone_asks_for_pictures_in_the_verbs_own_words(tmp_path: Path) -> None:
    model: Any = Model(tmp_path, None, Info(""))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"compare\.data: a bundle keeps no pictures .*\n.*compare\.data=PICTURES"):
        labelled.for_scoring(None, model, split_name="compare.data")
