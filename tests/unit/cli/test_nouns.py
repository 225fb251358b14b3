from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Cli = Callable[..., tuple[int, str, str]]


def test_every_kind_of_argument(espalier: Cli, behaviour: dict[str, Any]) -> None:
    code, out, _ = espalier(
        "data", "check", "a", "b", "--fix", "d", "--most", "3", "--names", "{x: y}", "--strict", "--only", "a", "b"
    )
    assert (code, out) == (1, "one finding\n")
    assert behaviour == {
        "paths": ("a", "b"),
        "fix": "d",
        "most": 3,
        "names": {"x": "y"},
        "strict": True,
        "only": ("a", "b"),
    }


def test_defaults(espalier: Cli, behaviour: dict[str, Any]) -> None:
    code, out, _ = espalier("data", "check", "a", "--json")
    assert (code, json.loads(out)) == (1, {"findings": 1})
    assert behaviour == {"paths": ("a",), "fix": None, "most": 5, "names": None, "strict": False, "only": ()}
    behaviour.clear()
    espalier("data", "one")
    assert behaviour == {"name": "it"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["data", "chek"], 2, "error: there is no command 'data chek'\n  did you mean 'check'?"),
        (["data", "check"], 2, "error: the following arguments are required: PATHS"),
        (["data", "check", "a", "--most", "x"], 2, "error: argument --most: invalid int value: 'x'"),
        (["data", "check", "a", "--only", "c"], 2, "invalid choice: 'c'"),
        (["data", "check", "a", "--names", "{"], 2, "error: espalier data check: names: not YAML"),
        (["data", "far"], 3, "pip install 'espalier-vision[absent]'"),
    ],
)
def test_wrong_input(espalier: Cli, arguments: list[str], code: int, said: str) -> None:
    got, out, err = espalier(*arguments)
    assert (got, out) == (code, "")
    assert said in err


def test_help(espalier: Cli) -> None:
    code, out, _ = espalier("data")
    assert (code, "check        Check" in out) == (2, True)
    code, out, _ = espalier("data", "--help")
    assert code == 0
    code, out, _ = espalier("data", "check", "--help")
    assert (code, "--fix" in out) == (0, True)
