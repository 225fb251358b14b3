"""Networks are found by folder; a plug-in only on a miss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata

import pytest

from espalier.errors import InputError
from espalier.networks import registry
from espalier.networks.card import FitPreset, Network


class Entries:
    """Stands in for the installed packages' entry points, and counts how often it is asked."""

    def __init__(self, **loaded: object) -> None:
        self.loaded = loaded
        self.asked = 0

    def __call__(self, *, group: str) -> list[metadata.EntryPoint]:
        assert group == "espalier.networks"
        self.asked += 1
        return [Entry(name, loaded) for name, loaded in self.loaded.items()]  # type: ignore[misc]


class Entry:
    def __init__(self, name: str, loaded: object) -> None:
        self.name, self.loaded, self.value = name, loaded, f"plug_in:{name}"

    def load(self) -> object:
        return self.loaded


def test_our_own_are_found_without_asking_plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Entries(classifier="never used")
    monkeypatch.setattr(metadata, "entry_points", entries)
    assert "classifier" in registry.names()
    assert registry.get("classifier").name == "classifier"
    assert entries.asked == 0


def test_a_plug_in_is_found_on_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    card = registry.get("classifier")
    monkeypatch.setattr(metadata, "entry_points", Entries(theirs=card))
    assert registry.get("theirs") is card
    assert registry.entry("theirs").spec_class is card.spec


def test_a_plug_in_that_offers_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", Entries(theirs=object()))
    with pytest.raises(InputError, match="plug_in:theirs"):
        registry.get("theirs")


@pytest.mark.parametrize("name", ["clasifier", "", "card", "../classifier", "classifier.spec"])
def test_an_unknown_name_is_told_with_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", Entries(theirs=object()))
    with pytest.raises(InputError, match=r"the networks are: classifier, .*, theirs"):
        registry.get(name)


@dataclass(frozen=True)
class Switched:
    masks: bool = False


def test_a_knob_can_make_it_another_task_s() -> None:
    presets = {"plain": {}, "outlined": {"network": {"masks": True}}}
    fits = (FitPreset("outlined", minutes=30), FitPreset("plain"))
    plain = registry.get("classifier")
    card = replace(plain, switches={"masks": "instance"}, presets=presets, fit_presets=fits)
    assert plain.tasks == ("classification",)
    assert card.tasks == ("classification", "instance")
    assert [card.task_of(Switched(masks=on)) for on in (False, True)] == list(card.tasks)  # type: ignore[arg-type]
    assert [card.task_of_preset(name) for name in presets] == list(card.tasks)
    assert card.fit_preset("instance", "cpu", 1) == "outlined"  # the last that there is for the task
    assert card.fit_preset("classification", "cpu", 60) == "plain"
    assert card.fit_preset("detection", "cpu", 60) is None


def test_by_task() -> None:
    assert [card.name for card in registry.for_task("classification")] == ["classifier"]
    assert registry.for_task("nothing") == []
    assert all(isinstance(card, Network) for card in registry.for_task("classification"))
