"""TIDE's kinds of error on constructed pictures, what mending each brings, and which pictures are shown."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.tasks.detection.scenes import Scene, kept, said, samples, truth

from espalier.tasks.detection import TASK
from espalier.tasks.detection.budget import KINDS, NONE, SPECIAL, Oracle

A, B = (0, 0, 40, 40), (100, 0, 140, 40)
THIRD_OF_B = (120, 0, 160, 40)  # overlaps it by a third
FAR = (300, 300, 340, 340)


def kinds(scene: Scene) -> list[str]:
    """The kind of each box, by falling score within its class."""
    return ["right" if kind == NONE else KINDS[kind] for kind in kept([scene]).errors.kind]


@pytest.mark.parametrize(
    ("box", "class_id", "kind"),
    [
        (B, 0, "right"),
        (B, 1, "class"),
        (THIRD_OF_B, 0, "location"),
        (THIRD_OF_B, 1, "both"),
        (A, 0, "duplicate"),
        (FAR, 0, "background"),
    ],
)
def test_each_kind(box: tuple[int, ...], class_id: int, kind: str) -> None:
    scene = (said((A, 0, 0.9), (box, class_id, 0.8)), truth((A, 0), (B, 0)))
    assert kinds(scene) == ["right", kind]
    missed = kept([scene]).errors.missed
    assert missed.tolist() == [False, kind in ("both", "duplicate", "background")]


def test_location_comes_before_class() -> None:
    """A box on an object of another class that also touches one of its own: TIDE's order."""
    assert kinds((said((B, 0, 0.9)), truth((THIRD_OF_B, 0), (B, 1)))) == ["location"]


def test_boxes_that_do_not_count_are_no_errors() -> None:
    crowd = truth((A, 0), (FAR, 0), crowd=[1])
    assert kinds((said((A, 0, 0.9), (FAR, 0, 0.8)), crowd)) == ["right", "right"]


@pytest.mark.parametrize(
    ("box", "class_id", "mended"),
    [
        (B, 1, "class"),
        (THIRD_OF_B, 0, "location"),
        (THIRD_OF_B, 1, "missed"),
        (FAR, 0, "missed"),
    ],
)
def test_what_mending_brings(box: tuple[int, ...], class_id: int, mended: str) -> None:
    """One of two objects of the only class with objects is found: AP 51/101, and 1 once the other is no longer lost."""
    found = gains((said((A, 0, 0.9), (box, class_id, 0.8)), truth((A, 0), (B, 0))))
    assert found.pop(mended) == pytest.approx(50 / 101)
    assert found.pop("not found") == pytest.approx(50 / 101)
    assert all(value == pytest.approx(0) for value in found.values())


def test_what_takes_a_false_alarm_away() -> None:
    """A surer false alarm halves the precision."""
    found = gains((said((FAR, 0, 0.95), (A, 0, 0.9)), truth((A, 0))))
    assert found.pop("background") == found.pop("false alarms") == pytest.approx(0.5)
    assert all(value == pytest.approx(0) for value in found.values())


def test_only_the_best_box_of_an_object_is_mended() -> None:
    """Two boxes name B wrongly: one becomes right, the other goes, and neither hurts."""
    found = gains((said((B, 1, 0.9), (B, 1, 0.8), (A, 0, 0.7)), truth((A, 0), (B, 0))))
    assert found["class"] == pytest.approx(50 / 101)


def gains(scene: Scene) -> dict[str, float]:
    whole = kept([scene])
    found = Oracle.of(whole.columns, whole.matches, whole.errors)(np.ones((1, 1)))[:, 0]
    return dict(zip((*KINDS, *SPECIAL), (found[1:] - found[0]).tolist(), strict=True))


def test_mistakes_by_kind() -> None:
    scenes = [
        (said((A, 0, 0.9), (FAR, 0, 0.2)), truth((A, 0))),  # nothing: the far box is not said
        (said((A, 1, 0.9)), truth((A, 0))),
        (said(), truth((A, 0), (B, 1))),
        (said((A, 0, 0.9), (FAR, 0, 0.8)), truth((A, 0))),
        (said((THIRD_OF_B, 0, 0.6)), truth((B, 0))),
    ]
    found = TASK.mistakes([p for p, _ in scenes], samples([t for _, t in scenes]), ("cat", "dog"))
    assert [(m.index, m.kind, m.caption) for m in found] == [
        (1, "wrong class", "cat; said dog 90 %"),
        (2, "missed", "2 missed of 1 cat, 1 dog"),
        (3, "false alarm", "nothing there; said cat 80 %"),
        (4, "poor location", "cat 60 %, overlaps by 33 %"),
    ]
    assert all(m.wrong for m in found)
