"""Values in the sections of verbs that are not at work: told, unless the verb reads them."""

from __future__ import annotations

from typing import Any

import pytest

import espalier
from espalier.actions import ACTIONS, get, unread
from espalier.errors import EspalierError
from espalier.spec.effects import value_at
from espalier.spec.sections import Spec


def told(verb: str, **sections: Any) -> list[str]:
    action = get(verb)
    assert action is not None
    return list(unread.warnings(action, Spec.model_validate(sections)))


CORRUPTIONS = {"corruptions": {"enabled": True, "severities": [3]}}


@pytest.mark.parametrize("verb", ["fit", "train", "compare", "explain"])
def test_the_suite_is_of_evaluate_alone(verb: str) -> None:
    (line,) = told(verb, evaluate=CORRUPTIONS)
    assert line == (
        "evaluate.corruptions.enabled, evaluate.corruptions.severities: no effect, "
        f"{verb} does not read it; espalier evaluate does"
    )


def test_what_a_verb_reads_is_not_told() -> None:
    assert told("evaluate", evaluate=CORRUPTIONS) == []
    assert told("train", evaluate={"bootstrap": 10, "pictures": 0}) == []
    assert told("fit", evaluate={"bootstrap": 10}, train={"epochs": 3}, export={"parity_images": 3}) == []
    assert told("fit", explain={"masks": 10}) != []
    assert all(told(action.name) == [] for action in ACTIONS)


def test_every_field_that_a_verb_reads_exists() -> None:
    assert all(value_at(Spec(), field) is not None for action in ACTIONS for field in action.reads)


def test_it_is_said_before_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EspalierError):
        espalier.compare("nowhere", "nowhere", overrides={"evaluate.bootstrap": 3})
    assert "warning: evaluate.bootstrap: no effect, compare does not read it" in capsys.readouterr().err
