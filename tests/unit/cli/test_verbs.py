from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from espalier.errors import (
    EspalierError,
    InterruptedByUser,
    MissingExtraError,
    ModelError,
    ParityError,
    Problem,
    RunExistsError,
)

Cli = Callable[..., tuple[int, str, str]]


def test_arguments_overrides_and_flags_in_any_order(espalier: Cli, behaviour: dict[str, Any]) -> None:
    code, out, err = espalier(
        "predict",
        "m",
        "a.jpg",
        "--formats",
        "csv, pictures",
        "predict.batch_size=3",
        "*.png",
        "--allow-urls",
        "./x.y=1",
    )
    assert code == 0, err
    asked = behaviour["spec"].predict
    assert (asked.model, asked.images, asked.batch_size) == ("m", ("a.jpg", "*.png", "./x.y=1"), 3)
    assert (asked.formats, asked.allow_urls) == (("csv", "pictures"), True)
    assert out.splitlines() == ["seen: m", "share: 0.25", "many: 1, 2", "run: runs/predict-001"]
    assert "working" in err
    assert Path("runs/predict-001/spec.yaml").read_text().startswith("spec_version: 1\n")
    assert json.loads(Path("runs/predict-001/run.json").read_text())["state"] == "done"


def test_json_and_quiet(espalier: Cli) -> None:
    code, out, err = espalier("--json", "predict", "m", "a", "--quiet", "name=mine")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"seen": "m", "share": 0.25, "bad": None, "many": [1, 2], "run": "runs/mine-001"}


def test_a_verb_without_a_run_writes_one_only_when_asked(espalier: Cli) -> None:
    assert espalier("evaluate", "m")[0] == 0
    assert not Path("runs").exists()
    assert espalier("evaluate", "m", "--out", "here")[1].splitlines()[-1] == "run: here"
    code, _, err = espalier("evaluate", "m", "--out", "here")
    assert code == RunExistsError.exit_code == 2
    assert err.startswith("error: here: exists and is not empty\n  ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "error: predict needs MODEL: a model\n  see: espalier predict --help"),
        (["predict", "m"], "error: predict needs IMAGES: pictures"),
        (["evaluate", "m", "d", "x"], "error: unexpected argument 'x'"),
        (["evaluate", "m", "d", "train.epochs"], "train.epochs'\n  a field is set by train.epochs=VALUE (integer or "),
        (["evaluate", "m", "d", "train.step_epochs[0]=3"], "(list of integers, at least 1, default []); a list is set"),
        (["predict", "m", "a", "--nope"], "error: unrecognized arguments: --nope"),
        (["predict", "m", "a", "--resume", "r"], "error: unrecognized arguments: --resume"),
        (["predict", "m", "a", "--out"], "error: argument --out: expected one argument"),
        (["predict", "m", "a", "trian.epochs=3"], "error: override: trian: unknown field\n  did you mean 'train'?"),
        (
            ["predict", "m", "a", "--formats", "png"],
            "error: predict.formats[0]: 'png' is not one of json, jsonl, csv, pictures",
        ),
        (["trian", "x"], "error: there is no verb 'trian'\n  did you mean 'train'?"),
        (["--nope", "train"], "error: unknown option '--nope' before the verb"),
        (["train"], "error: train needs SPEC: a spec file"),
        (["train", "none.yaml"], "error: none.yaml: there is no such spec file"),
        (["train", "train.epochs=3", "network.preset=x"], "error: network.name: the network's name is needed"),
        (["train", "--resume", "r"], "error: r is not a run that could be resumed"),
        (["train", "s", "--resume", "r", "--out", "o"], "error: --resume goes on in r, so it can't write to o"),
    ],
)
def test_wrong_input_is_exit_2_with_one_message(espalier: Cli, arguments: list[str], message: str) -> None:
    code, out, err = espalier(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_train_by_file_and_by_overrides_alone(espalier: Cli, behaviour: dict[str, Any]) -> None:
    Path("s.yaml").write_text("network: {name: classifier}\ntrain: {minutes: 5}\n")
    assert espalier("train", "s.yaml", "--minutes", "2.5", "--download", "--licences", "commercial")[0] == 0
    spec = behaviour["spec"]
    assert (spec.train.minutes, spec.network.backbone.download, spec.licences) == (2.5, True, "commercial")
    assert espalier("train", "network.name=classifier", "train.lr=1e-3")[0] == 0
    assert behaviour["spec"].train.lr == 1e-3
    code, _, err = espalier("train", "s.yaml", "--minutes", "soon")
    assert (code, "train.minutes: 'soon' is not a number or null" in err) == (2, True)


def test_resume_takes_the_runs_own_spec(espalier: Cli, behaviour: dict[str, Any]) -> None:
    behaviour["raise"] = KeyboardInterrupt()
    code, _, err = espalier("train", "network.name=classifier", "train.epochs=7", "--out", "r")
    assert (code, err.splitlines()[-1]) == (130, "error: interrupted")
    assert json.loads(Path("r/run.json").read_text())["state"] == "interrupted"
    del behaviour["raise"]
    assert espalier("train", "--resume", "r")[0] == 0
    assert behaviour["spec"].train.epochs == 7
    assert behaviour["run"].record.resumed == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ParityError(Problem("model.onnx", "differs", "at most 1e-3", "try fp32")),
            1,
            "error: model.onnx: differs\n  at most 1e-3\n  try fp32\n",
        ),
        (MissingExtraError("train", "this"), 3, "pip install 'espalier-vision[train]'"),
        (ModuleNotFoundError("No module named 'torch'", name="torch.nn"), 3, "pip install 'espalier-vision[train]'"),
        (InterruptedByUser("stopped after epoch 3"), 130, "error: stopped after epoch 3"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (
            ZeroDivisionError("by zero"),
            1,
            "error: unexpected ZeroDivisionError: by zero\n  this is a defect of Espalier",
        ),
        (MemoryError(), 1, "error: out of memory"),
        (ParityError(Problem("a\x1b[31m", "b")), 1, "error: a\\x1b[31m: b"),
    ],
)
def test_errors_end_with_their_code_and_no_traceback(
    espalier: Cli, behaviour: dict[str, Any], error: BaseException, code: int, said: str
) -> None:
    behaviour["raise"] = error
    got, out, err = espalier("predict", "m", "a", "--quiet")
    assert (got, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
    got, _, err = espalier("predict", "m", "a", "--debug")
    assert (got, "Traceback" in err) == (code, True)


@pytest.mark.parametrize("error", [ModelError("no such model"), MissingExtraError("train", "this")])
def test_what_the_verb_refuses_leaves_no_run(espalier: Cli, behaviour: dict[str, Any], error: EspalierError) -> None:
    behaviour["raise"] = error
    assert espalier("predict", "m", "a", "--out", "o")[0] == error.exit_code
    assert not Path("o").exists()
    Path("o").mkdir()
    assert espalier("predict", "m", "a", "--out", "o")[0] == error.exit_code
    assert list(Path("o").iterdir()) == []
    behaviour["raise"] = ParityError("differs")
    assert espalier("predict", "m", "a", "--out", "o")[0] == 1
    assert json.loads(Path("o/run.json").read_text())["state"] == "failed"


def test_many_problems_are_cut(espalier: Cli, behaviour: dict[str, Any]) -> None:
    behaviour["raise"] = ParityError(*(Problem(str(n), "bad") for n in range(100)))
    _, _, err = espalier("predict", "m", "a", "--quiet")
    assert err.splitlines()[-1] == "error: and 60 more"


def test_a_missing_extra_is_told_before_the_work(espalier: Cli) -> None:
    code, _, err = espalier("export")
    assert (code, "pip install 'espalier-vision[absent]'" in err) == (3, True)


def test_help_of_a_verb_tells_its_fields(espalier: Cli) -> None:
    code, out, _ = espalier("train", "--help")
    assert code == 0
    assert "usage: espalier train SPEC [section.field=value ...] [options]" in out
    assert "train.epochs " in out
    assert "--minutes" in out
    assert "--resume" in out
    assert "--formats" not in out


def test_no_verb_is_exit_2_with_the_page(espalier: Cli) -> None:
    code, out, _ = espalier()
    assert (code, "verbs:" in out) == (2, True)


def test_other_processes_of_torchrun_write_no_run(
    espalier: Cli, behaviour: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert espalier("train", "network.name=classifier")[0] == 0
    assert not Path("runs").exists()
    assert behaviour["run"].kept is False
