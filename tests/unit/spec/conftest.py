"""A network that only the spec's tests know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from espalier.errors import InputError
from espalier.spec.facts import Facts
from espalier.spec.fields import Auto, Tunable, knob
from espalier.spec.load import Lookup, NetworkEntry
from espalier.spec.sections import NetworkSpec, Spec


def _reach(spec: Spec, facts: Facts) -> tuple[int, str]:
    return 7, "it is a lucky number"


class TinySpec(NetworkSpec):
    """A network with a knob of each kind."""

    rules: ClassVar[Mapping[str, Any]] = {"reach": _reach}

    queries: int = knob(300, "Queries", ge=1, le=2000, tunable=Tunable(10, 900, "log"))
    reach: int | Auto = knob("auto", "How far it looks", unit="px", ge=1)


PRESETS = {
    "small": {"network": {"queries": 100}, "train": {"lr": 1e-3, "epochs": 5}},
    "large": {"network": {"queries": 900}},
}


@pytest.fixture
def lookup() -> Lookup:
    def find(name: str) -> NetworkEntry:
        if name == "dino":
            return NetworkEntry(TinySpec, PRESETS)
        raise InputError(f"there is no network '{name}'; the networks are: dino")

    return find
