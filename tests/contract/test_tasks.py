"""The same questions to every task and every decoder there is."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.errors import InputError, ModelError
from espalier.tasks import base
from espalier.tasks.base import Decoder, Task
from espalier.vision.geometry import Geometry

TASKS = base.names()
DECODERS = [(task, *decoder) for task in TASKS for decoder in base.get(task).decoders()]
PUBLIC = (
    "fits", "sample", "targets", "decoders", "decoder", "metrics", "compare", "resample", "mistakes",
    "explain_targets", "draw", "words", "rows", "to_json",
)  # fmt: skip


def test_there_are_tasks_and_decoders() -> None:
    assert TASKS
    assert {task for task, *_ in DECODERS} == set(TASKS)


def test_an_unknown_task_names_the_others() -> None:
    with pytest.raises(InputError, match=TASKS[0]):
        base.get("astrology")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_all_that_the_house_calls(name: str) -> None:
    task: Task = base.get(name)
    assert task.name == name
    assert isinstance(task.mixable, tuple)
    assert isinstance(task.ragged, tuple)
    assert isinstance(task.background, bool)
    assert set(task.mixable).isdisjoint(task.ragged)
    for attribute in PUBLIC:
        assert callable(getattr(task, attribute)), attribute
        assert getattr(task, attribute).__doc__, attribute


@pytest.mark.parametrize("name", TASKS)
def test_labels_of_no_kind_suit_no_task(name: str) -> None:
    assert base.get(name).fits(frozenset()) == 0
    assert base.get(name).fits(frozenset({"an unheard-of kind"})) == 0


@pytest.mark.parametrize("name", TASKS)
def test_an_unknown_decoder_names_the_known(name: str) -> None:
    with pytest.raises(ModelError, match=base.get(name).decoders()[0][0]):
        base.get(name).decoder("astrology", 1)


@pytest.mark.parametrize(("task", "name", "version"), DECODERS)
def test_a_decoder_is_what_its_file_says(task: str, name: str, version: int) -> None:
    decoder = base.get(task).decoder(name, version)
    assert isinstance(decoder, Decoder)
    assert (decoder.name, decoder.version) == (name, version)
    assert type(decoder).__doc__


@pytest.mark.parametrize(("task", "name", "version"), DECODERS)
def test_a_decoder_refuses_outputs_that_it_cannot_read(task: str, name: str, version: int) -> None:
    decoder = base.get(task).decoder(name, version)
    here = [Geometry.identity((8, 8))]
    for outputs in ({}, {"nonsense": np.zeros((1, 2, 3, 4, 5), np.float32)}):
        with pytest.raises(ModelError):
            decoder(outputs, here, ("a", "b"), {})
