from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import SpecError
from espalier.spec.source import Origin
from espalier.spec.yaml_text import parse, parse_value, written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5", 5),
        ("-0.5", -0.5),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("[1, a, {b: .5}]", [1, "a", {"b": 0.5}]),
        ("0x10", "0x10"),
    ],
)
def test_a_value_means_what_yaml_1_2_says(text: str, value: object) -> None:
    assert parse(f"k: {text}\n", "f").values == {"k": value}


def test_every_value_knows_its_line() -> None:
    source = parse("a: 1\nb:\n  c: x\n  d: [1,\n      2]\n", "f.yaml")
    assert source.origins[("a",)] == Origin("f.yaml:1", "1")
    assert source.origins[("b", "c")].where == "f.yaml:3"
    assert source.origins[("b", "d", 1)].where == "f.yaml:5"
    assert source.where(("b", "not there")) == "f.yaml:2: b.not there"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"f:2: a: this key is here twice\n  the first is at f:1"),
        ("a: {b: 1, b: 2}", r"f:1: a.b: this key is here twice"),
        ("a: !!python/object:os.system {}", r"f:1: a: the tag .*os.system is not allowed"),
        ("a: !secret x", r"the tag !secret is not allowed"),
        ("a: &x [*x]", r"contains itself"),
        ("a: [1", r"f:1: not YAML"),
        ("a: *b", r"undefined alias"),
        ("a: \x01", r"f:1: the character U\+0001"),
        ('a: "\\U99999999"', r"not YAML"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1", r"not YAML"),
        ("? [a]\n: 1", r"a key must be plain text"),
        ("---\na: 1\n---\nb: 1", r"f:3: not YAML"),
        ("[1]", r"not a mapping"),
        ("[" * 5000, r"nested more than 30 deep"),
        ("- " * 5000, r"nested more than 30 deep"),
        ("a: " + "x" * 300_000, r"characters are too many"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(text, "f")


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    start = time.perf_counter()
    with pytest.raises(SpecError, match="more than 50,000 values"):
        parse("\n".join(lines), "f")
    assert time.perf_counter() - start < 5


def test_plain_aliases_work() -> None:
    assert parse("a: &x [1, 2]\nb: *x", "f").values == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("*.jpg", "*.jpg"),
        ("a #b", "a #b"),
        ("[a, 'b,c']", ["a", "b,c"]),
        ("{x: 1}", {"x": 1}),
        ("C:\\p", "C:\\p"),
        ("", None),
    ],
)
def test_an_override_is_bare_unless_it_is_bracketed_or_quoted(text: str, value: object) -> None:
    assert parse_value(text, ("s", "f"), "override").values == {"s": {"f": value}}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
def test_what_is_written_reads_back(value: Any) -> None:
    assert parse(f"k: {written(value)}\n", "f").values == {"k": value}
