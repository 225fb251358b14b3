from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from espalier.networks.registry import entry
from espalier.spec.load import load_spec

Cli = Callable[..., tuple[int, str, str]]


def test_the_printed_spec_trains(espalier: Cli) -> None:
    code, out, _ = espalier("spec", "classifier")
    assert code == 0
    Path("s.yaml").write_text(out)
    assert load_spec("s.yaml", lookup=entry) == load_spec({"network.name": "classifier"}, lookup=entry)
    assert espalier("train", "s.yaml")[0] == 0


def test_preset_and_overrides(espalier: Cli) -> None:
    code, out, _ = espalier("spec", "classifier", "--preset", "tiny", "train.epochs=3", "--json")
    values = json.loads(out)
    assert (code, values["network"]["preset"], values["train"]["epochs"]) == (0, "tiny", 3)


def test_schema(espalier: Cli) -> None:
    whole = json.loads(espalier("schema", "classifier")[1])
    assert "multi_label" in whole["$defs"]["ClassifierSpec"]["properties"]
    part = json.loads(espalier("schema", "classifier", "evaluate")[1])
    assert part["properties"]["bootstrap"]["maximum"] == 1_000_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spec"], "the following arguments are required: NETWORK"),
        (["spec", "clasifier"], "there is no network 'clasifier'"),
        (["spec", "classifier", "--preset", "tinny"], "did you mean 'tiny'?"),
        (["schema", "classifier", "trian"], "there is no verb 'trian'"),
        (["schema", "nope"], "there is no network 'nope'"),
    ],
)
def test_wrong_input(espalier: Cli, arguments: list[str], said: str) -> None:
    code, out, err = espalier(*arguments)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.skipif(sys.platform == "win32", reason="needs head")
def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m espalier spec classifier | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# The full default spec of classifier")
