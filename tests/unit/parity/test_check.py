"""The whole way of a file, on a network of a few hundred numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parity import __main__ as command
from parity import files, report
from parity.report import Result
from parity.run import check_file, check_folder
from parity.toy import Toy, ToyChecker, ToySubject
from parity.write import save, write

BY = [ToyChecker()]
Edit = Callable[[dict[str, Any], dict[str, files.Array]], object]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    write(
        tmp_path,
        ToySubject,
        {"function": "toy_8", "args": {}},
        shape=(2, 3, 16, 24),
        features={"patch_embed": (2, 2, 3, 8)},
    )
    return tmp_path


def edited(folder: Path, edit: Edit) -> Result:
    """The result after a change of the document and the arrays."""
    document = json.loads((folder / "toy_8.json").read_text())
    arrays = dict(files.read(folder, "toy_8").arrays)
    edit(document, arrays)
    (folder / "toy_8.json").write_text(json.dumps(document))
    save(folder / "toy_8.npz", arrays)
    return check_file(folder, "toy_8", by=BY)


def told(result: Result) -> str:
    return "\n".join(
        [result.reason, *(f"{finding.what}: {finding.note}" for finding in result.findings if not finding.ok)]
    )


def test_a_true_file_is_ok_and_every_part_was_compared(toy: Path) -> None:
    result = check_file(toy, "toy_8", by=BY)
    assert (result.status, told(result).strip()) == ("ok", "")
    compared = {finding.what for finding in result.findings}
    assert {
        "logits",
        "logits@float64",
        "feature/patch_embed",
        "parameters",
        "fill of patch_embed.proj.bias",
    } <= compared
    assert {"gradient of head.bias", "gradient of unused", "gradient of attn.q.bias"} <= compared
    assert "13 names and shapes" in compared


def _rename(old: str, new: str) -> Edit:
    def edit(document: dict[str, Any], _: dict[str, files.Array]) -> None:
        for entry in document["state_dict"]:
            entry["name"] = new if entry["name"] == old else entry["name"]
        document["grad"]["names"] = [new if name == old else name for name in document["grad"]["names"]]

    return edit


def _shape(document: dict[str, Any], _: dict[str, files.Array]) -> None:
    document["state_dict"][-1]["shape"] = [9, 9]


def _kind(document: dict[str, Any], _: dict[str, files.Array]) -> None:
    document["state_dict"][0]["kind"] = "buffer"


def _add(array: str, value: float) -> Edit:
    def edit(_: dict[str, Any], arrays: dict[str, files.Array]) -> None:
        arrays[array] = arrays[array].copy()
        arrays[array].reshape(-1)[-1] += value

    return edit


def _set(value: object, *path: str) -> Edit:
    def edit(document: dict[str, Any], _: dict[str, files.Array]) -> None:
        inside = document
        for part in path[:-1]:
            inside = inside[part]
        inside[path[-1]] = value

    return edit


def _drop(*path: str) -> Edit:
    def edit(document: dict[str, Any], _: dict[str, files.Array]) -> None:
        inside = document
        for part in path[:-1]:
            inside = inside[part]
        del inside[path[-1]]

    return edit


def _no_gradient_of_a_name(document: dict[str, Any], arrays: dict[str, files.Array]) -> None:
    document["grad"]["zero_or_unused"].append(document["grad"]["names"].pop())
    arrays["grad_norm"] = arrays["grad_norm"][:-1]


def _a_name_without_gradient(document: dict[str, Any], arrays: dict[str, files.Array]) -> None:
    document["grad"]["names"].append(document["grad"]["zero_or_unused"].pop())
    arrays["grad_norm"] = np.append(arrays["grad_norm"], np.float32(0.1))


def _another_array(_: dict[str, Any], arrays: dict[str, files.Array]) -> None:
    arrays["extra"] = np.zeros(1)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_rename("head.weight", "fc.weight"), "name fc.weight: ours has no such tensor"),
        (_rename("attn.index", "attn.table"), "name attn.index: only ours has it"),
        (_shape, r"shape attn.index: \(4, 4\), not \(9, 9\)"),
        (_kind, "kind unused: a parameter on one side only"),
        (_set(8, "parameters"), "parameters: off by"),
        (_set([0.5], "fill_check", "patch_embed.proj.bias"), "fill of patch_embed.proj.bias: off by"),
        (_set([0.5], "fill_check", "fc.bias"), "fill_check.fc.bias is no filled tensor"),
        (_add("logits", 1e-3), "logits: off by 0.001, allowed"),
        (_add("logits", np.nan), "logits: off by nan"),
        (_add("logits@float64", 1e-5), "logits@float64: off by 1e-05"),
        (_add("feature/patch_embed", 1e-2), "feature/patch_embed: off by"),
        (_set(0.4, "outputs", "feature/patch_embed", "mean"), r"feature/patch_embed \(mean\): off by"),
        (_set(9.0, "outputs", "logits", "absmax"), r"logits \(absmax\): off by"),
        (_add("grad_norm", 0.0005), "gradient of head.bias: 0.0186276, not 0.0191276"),
        (_no_gradient_of_a_name, "gradient of head.bias: 0.0186, and it must get none"),
        (_a_name_without_gradient, "gradient of unused: 0, not 0.1"),
        (_set([], "grad", "zero_or_unused"), "are not the parameters, each once"),
        (_set("sum(logits)", "grad", "loss"), r"grad.loss 'sum\(logits\)' is unknown"),
        (_set("norms", "grad", "array"), "array grad_norm is none that"),
        (_another_array, "array extra is none that"),
        (_set("close enough", "tolerance", "rule"), "tolerance.rule is none that this tool knows: 'close enough'"),
        (_drop("tolerance", "relative"), "tolerance.relative: Field required"),
        (_set(0, "tolerance", "relative"), "tolerance.relative: Input should be greater than 0"),
        (_drop("tolerance", "relative_float64"), "tolerance.relative_float64"),
        (_set(1e-3, "tolerance", "feature_relative"), "tolerance.feature_relative: Extra inputs are not permitted"),
        (_drop("tolerance"), "tolerance: Field required"),
        (_drop("fill_check"), "fill_check: Field required"),
        (_set("espalier-fill-2", "fill_rule"), "fill_rule: Input should be 'espalier-fill-1'"),
        (_set("noise-2", "input", "rule"), "input.rule 'noise-2' is unknown"),
        (_set("train", "mode"), "mode: Input should be"),
        (_set("median", "outputs", "logits", "rule"), "rule 'median': unknown wording"),
        (_set("toy_800", "constructor", "function"), "toy has no size 'toy_800'"),
        (_set("toy_16", "constructor", "function"), r"shape head.weight: \(5, 16\), not \(5, 8\)"),
        (_set("resnet50", "constructor", "function"), "no family is known for its constructor"),
    ],
)
def test_whatever_is_wrong_is_a_fail_with_its_reason(toy: Path, edit: Edit, reason: str) -> None:
    result = edited(toy, edit)
    assert result.status == "FAIL"
    assert re.search(reason, told(result)), told(result)


def test_tolerances_are_the_files_own(toy: Path) -> None:
    def looser(document: dict[str, Any], arrays: dict[str, files.Array]) -> None:
        _add("logits", 5e-4)(document, arrays)
        document["tolerance"]["relative"] = 1e-2

    def tighter(document: dict[str, Any], arrays: dict[str, files.Array]) -> None:
        _add("logits", 1e-6)(document, arrays)
        document["tolerance"]["relative"] = 1e-7

    def gradients(document: dict[str, Any], arrays: dict[str, files.Array]) -> None:
        _add("grad_norm", 0.0005)(document, arrays)
        document["grad"]["tolerance_relative"] = 0.1

    assert edited(toy, looser).status == "ok"
    assert edited(toy, gradients).status == "ok"
    assert edited(toy, tighter).status == "FAIL"


@pytest.mark.parametrize(("factor", "status"), [(1e-9, "ok"), (1e-6, "FAIL")])
def test_a_gradient_that_mathematics_makes_zero_stays_below_its_limit(
    toy: Path, monkeypatch: pytest.MonkeyPatch, factor: float, status: str
) -> None:
    plain = Toy.forward
    monkeypatch.setattr(Toy, "forward", lambda self, image: plain(self, image) + factor * self.query.bias)
    result = check_file(toy, "toy_8", by=BY)
    assert result.status == status
    assert ("gradient of attn.q.bias" in told(result)) == (status == "FAIL")


def test_a_defect_is_the_fail_of_its_file_alone(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: Toy, _image: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("of the network")

    monkeypatch.setattr(Toy, "forward", broken)
    (toy / "z.json").write_text('{"kind": "metric learning"}')
    results = list(check_folder(toy, by=BY))
    assert [(r.status, r.reason) for r in results] == [
        ("FAIL", "ZeroDivisionError: of the network"),
        ("not yet", "comes with metric learning"),
    ]


def test_a_line_names_the_worst_comparison_and_what_failed(toy: Path) -> None:
    ok = report.lines(check_file(toy, "toy_8", by=BY), width=10)
    assert len(ok) == 1
    assert " ok " in ok[0]
    failed = report.lines(edited(toy, _add("logits", 1e-3)), width=10)
    assert " FAIL " in failed[0]
    assert "logits, worst of" in failed[0]
    assert failed[1].strip().startswith("logits: off by 0.001")


def test_nothing_compared_is_a_fail() -> None:
    assert report.of_findings("a", [], 0).status == "FAIL"


def test_the_command_ends_with_0_only_when_nothing_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("no parity file")
    assert command.main([str(tmp_path)]) == 2
    assert command.main([str(tmp_path / "absent")]) == 2
    assert command.main([]) == 2
    (tmp_path / "a.json").write_text('{"kind": "dbnet forward"}')
    assert command.main([str(tmp_path)]) == 0
    (tmp_path / "b.json").write_text('{"kind": "unheard of"}')
    assert command.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "2 files: 0 ok, 1 FAIL, 1 not yet"
    assert "no family is known for its kind 'unheard of'" in printed[-2]
