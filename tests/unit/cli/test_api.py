from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import espalier as package
from espalier.actions import api
from espalier.errors import MissingExtraError, SpecError, UsageError

Cli = Callable[..., tuple[int, str, str]]


def test_functions_take_paths_and_mappings(espalier: Cli, behaviour: dict[str, Any], tmp_path: Path) -> None:
    result = package.predict(
        tmp_path / "m", [Path("a.jpg"), "b.jpg"], overrides={"predict.batch_size": np.int64(3)}, progress=False
    )
    assert result["run"] == os.path.join("runs", "predict-001")  # noqa: PTH118
    asked = behaviour["spec"].predict
    assert (asked.model, asked.images, asked.batch_size) == (str(tmp_path / "m"), ("a.jpg", "b.jpg"), 3)
    package.predict("m", "one.jpg", progress=False)
    assert behaviour["spec"].predict.images == ("one.jpg",)


def test_train_takes_a_mapping_a_file_or_text(espalier: Cli, behaviour: dict[str, Any]) -> None:
    package.train({"network": {"name": "classifier"}, "train": {"epochs": 2}}, progress=False)
    assert behaviour["spec"].train.epochs == 2
    package.train("network: {name: classifier}\ntrain: {epochs: 3}\n", overrides=["train.lr=0.5"], progress=False)
    assert (behaviour["spec"].train.epochs, behaviour["spec"].train.lr) == (3, 0.5)
    Path("s.yaml").write_text("network: {name: classifier}\nseed: 9\n")
    package.train(Path("s.yaml"), out="here", progress=False)
    assert (behaviour["spec"].seed, behaviour["run"].path, behaviour["run"].record.seed) == (9, Path("here"), 9)


def test_optional_arguments_stay_out(espalier: Cli, behaviour: dict[str, Any]) -> None:
    assert "run" not in package.evaluate("m", progress=False)
    assert behaviour["spec"].evaluate.data is None
    package.evaluate("m", "d", progress=False)
    assert behaviour["spec"].evaluate.data == "d"


def test_progress_goes_to_standard_error(espalier: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    package.evaluate("m")
    printed = capsys.readouterr()
    assert (printed.out, "working" in printed.err) == ("", True)


def test_errors_are_the_houses_own(espalier: Cli) -> None:
    with pytest.raises(UsageError, match="there is no verb 'nope'; the verbs are: fit, train"):
        api.call("nope", {})
    with pytest.raises(SpecError, match=r"override: predict.batch_size: 0 is out of range"):
        package.predict("m", "a", overrides={"predict.batch_size": 0}, progress=False)
    with pytest.raises(MissingExtraError, match="absent"):
        package.export("m", progress=False)
    with pytest.raises(UsageError, match="can't go on with an interrupted run"):
        api.call("predict", {}, resume="r")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["evaluate", "spec", "schema", "classifier", "--json", "--debug", "--quiet", "--out", "--x"])
        | st.sampled_from(["evaluate.batch_size=2", "train.lr=", "a.b=[", "=", "-", "--", "x.y=1", "--licences", "any"])
        | st.text(max_size=6),
        max_size=5,
    )
)
def test_any_words_end_with_a_code_of_the_table(espalier: Cli, words: list[str]) -> None:
    code, _, err = espalier(*words)
    assert code in (0, 1, 2, 3)
    assert "unexpected" not in err.replace("unexpected argument", "")
    assert code == 0 or err.startswith(("error: ", "Traceback")) or not words or not err
