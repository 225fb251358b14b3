from __future__ import annotations

from typing import Any

import pytest

from espalier.errors import SpecError
from espalier.spec.migrate import migrate


def test_steps_are_taken_in_order_from_the_specs_own_version() -> None:
    def first(raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "seen": [*raw.get("seen", []), 1]}

    def second(raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "seen": [*raw.get("seen", []), 2]}

    steps = {1: first, 2: second}
    assert migrate({"spec_version": 1}, steps=steps, current=3) == {"spec_version": 3, "seen": [1, 2]}
    assert migrate({"spec_version": 2}, steps=steps, current=3) == {"spec_version": 3, "seen": [2]}
    assert migrate({"a": 1}, steps=steps, current=3) == {"a": 1}


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None, [1]])
def test_no_version(version: object) -> None:
    with pytest.raises(SpecError, match=r"f:3: spec_version: .* is not a version"):
        migrate({"spec_version": version}, where="f:3")


def test_from_the_future() -> None:
    with pytest.raises(SpecError, match="of version 99; this Espalier reads up to 1\n  install a newer Espalier"):
        migrate({"spec_version": 99})
