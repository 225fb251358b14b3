"""A verb and a noun group that only these tests know."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from espalier import actions
from espalier.actions import Action, Positional
from espalier.cli import main, top
from espalier.cli.top import Group
from espalier.commands import Argument, Command, Reply

VERBS = (
    Action(
        "predict",
        "Echo",
        "espalier_test_verbs:echo",
        "predict",
        (
            Positional("MODEL", "predict.model", "a model"),
            Positional("IMAGES", "predict.images", "pictures", many=True),
        ),
    ),
    Action("train", "Train", "espalier_test_verbs:train", "train", from_spec=True, resumable=True, trains=True),
    Action(
        "evaluate",
        "Score",
        "espalier_test_verbs:echo",
        "evaluate",
        (Positional("MODEL", "evaluate.model", "a model"), Positional("DATA", "evaluate.data", "data", optional=True)),
        writes_run=False,
    ),
    Action("export", "Needs much", "espalier_test_verbs:echo", "export", extra="absent"),
)

COMMANDS = (
    Command(
        "check",
        "Check",
        "espalier_test_verbs:check",
        (
            Argument("PATHS", "where", many=True),
            Argument("--fix", "write there"),
            Argument("--most", "at most", kind="integer", default=5),
            Argument("--names", "old to new", kind="yaml"),
            Argument("--strict", "all of it", kind="switch"),
            Argument("--only", "kinds", many=True, choices=("a", "b")),
        ),
    ),
    Command("one", "One", "espalier_test_verbs:check", (Argument("NAME", "a name", required=False, default="it"),)),
    Command("far", "Far", "espalier_test_verbs:check", extra="absent"),
)


@pytest.fixture
def behaviour() -> dict[str, Any]:
    """What the verbs were given, and under 'raise' what they should raise."""
    return {}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch, behaviour: dict[str, Any]) -> None:
    module: Any = ModuleType("espalier_test_verbs")

    def echo(spec: Any, run: Any) -> dict[str, Any]:
        behaviour.update(spec=spec, run=run)
        run.say("working")
        if "raise" in behaviour:
            raise behaviour["raise"]
        return {"seen": spec.predict.model or "", "share": 0.25, "bad": float("nan"), "many": [1, 2]}

    def check(**values: Any) -> Reply:
        behaviour.update(values)
        return Reply(("one finding",), {"findings": 1}, 1)

    module.echo, module.train, module.check = echo, echo, check
    module.TABLE = COMMANDS
    monkeypatch.setitem(sys.modules, "espalier_test_verbs", module)
    monkeypatch.setattr(actions, "ACTIONS", VERBS)
    monkeypatch.setattr(top, "GROUPS", {"data": Group("Data", "espalier_test_verbs:TABLE")})
    from espalier.actions import extras
    from espalier.cli import nouns

    monkeypatch.setattr(nouns, "GROUPS", top.GROUPS)
    monkeypatch.setattr(extras, "MODULES", {"absent": ("not_there_at_all",), "train": ("torch",)})


@pytest.fixture
def espalier(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any, tables: None
) -> Callable[..., Any]:
    """Runs a command line in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run
