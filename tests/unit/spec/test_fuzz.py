"""Whatever a spec holds, loading it gives a Spec or a SpecError with words, quickly."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espalier.errors import Problem, SpecError
from espalier.spec.dump import to_yaml
from espalier.spec.load import Lookup, load_spec
from espalier.spec.schema import fields
from espalier.spec.sections import Spec

_SETTINGS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=2000)
_PATHS = [field.path for field in fields(Spec)]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["auto", "dino"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)


def _loads_or_tells(source: Any, lookup: Lookup, overrides: Any = ()) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        spec: Spec | None = load_spec(source, overrides=overrides, lookup=lookup)
    except SpecError as error:
        spec, problems = None, error.problems
    if spec is None:
        assert problems
        assert all(problem.what for problem in problems)
    else:
        assert load_spec(to_yaml(spec), lookup=lookup) == spec


@_SETTINGS
@given(st.text(alphabet=st.sampled_from(" \n:-[]{},'\"&*!?|>%@#ab1~.\t\\\0é\ud800"), max_size=60))
def test_any_text(lookup: Lookup, text: str) -> None:
    _loads_or_tells(f"{text}\n", lookup)


@_SETTINGS
@given(seed=st.integers(0, 2**32), count=st.integers(1, 6))
def test_a_spec_with_scars(lookup: Lookup, seed: int, count: int) -> None:
    text = to_yaml(load_spec({"network.name": "dino"}, lookup=lookup), comments=True)
    rng = random.Random(seed)
    for _ in range(count):
        at = rng.randrange(len(text))
        text = (
            text[:at]
            + rng.choice(["", "\n", ": ", "[", "{", "'", "&a ", "*a", "- ", "\t", "!!x ", "%"])
            + text[at + rng.randrange(4) :]
        )
    _loads_or_tells(text, lookup)


@_SETTINGS
@given(st.dictionaries(st.sampled_from(_PATHS), _VALUES, max_size=5))
def test_any_value_anywhere(lookup: Lookup, values: dict[str, Any]) -> None:
    _loads_or_tells({"network.name": "dino", **values}, lookup)


@_SETTINGS
@given(
    st.lists(st.tuples(st.sampled_from(_PATHS), st.text(max_size=12)).map("=".join) | st.text(max_size=20), max_size=4)
)
def test_any_override(lookup: Lookup, overrides: list[str]) -> None:
    _loads_or_tells(None, lookup, overrides)
