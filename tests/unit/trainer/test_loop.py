"""The loop: what it learns, when it stops, what it keeps, and that resuming changes nothing."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from parts import DrawnLoader, Memory, Tiny, killed_run, make_loop, score, train_spec

from espalier.errors import DivergedError, InterruptedByUser, MemoryExhaustedError, SpecError, WorkError
from espalier.trainer.checkpoint import load_checkpoint
from espalier.trainer.loop import Loop

TIMES = ("images_per_s", "data_wait", "memory_mb", "eta_s")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def metrics(record: Memory) -> list[dict[str, Any]]:
    kinds = ("step", "epoch", "checkpoint")
    return [{k: v for k, v in e.items() if k not in TIMES} for e in record.events if e["kind"] in kinds]


def test_learns_and_keeps_the_best(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    result = loop.fit()
    assert (result.stopped, result.epochs, result.steps) == ("epochs", 3, 15)
    assert result.best_value is not None
    assert result.best_value > 0.9
    best = load_checkpoint(result.best_path)
    assert best.info["figures"]["accuracy"] == result.best_value
    assert best.info["classes"] == ["a", "b"]
    fresh = Tiny()
    best.load_into(fresh)
    assert score(fresh)["accuracy"] == result.best_value
    assert 0 <= result.data_wait <= 1
    assert result.images_per_s > 0
    steps = loop.record.of("step")  # type: ignore[attr-defined]
    assert all(event["images_per_s"] > 0 for event in steps)  # the first one too
    assert all(0 <= event["data_wait"] <= 1 for event in steps)


VARIANTS = {
    "adamw": {},
    "ema and accumulation": {"ema_decay": 0.9, "accumulate": 2},
    "sgd, clipping off": {"optimizer": "sgd", "clip_norm": 0.0},
    "bf16": {"precision": "bf16"},
    "lion": {"optimizer": "lion", "lr": 0.005},
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.005},
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_resume_is_exact(tmp_path: Path, variant: dict[str, Any]) -> None:
    train = train_spec(checkpoint_every_steps=2, **variant)
    whole = make_loop(tmp_path / "whole", train)
    whole.fit()
    end = load_checkpoint(tmp_path / "whole/checkpoints/last")
    for step in (0, 3, 5, 8) if not variant else (3, 8):
        folder = tmp_path / f"cut-{step}"
        record = killed_run(folder, train, at=step)
        loop = make_loop(folder, train, record=record)
        if step < 2:  # no checkpoint yet: the run begins again
            record.cut_events(0)
        loop.fit(resume=True)
        again = load_checkpoint(folder / "checkpoints/last")
        assert same(again.model_state(), end.model_state())
        assert same(dict(again.trainer_state().tensors), dict(end.trainer_state().tensors))
        assert metrics(record) == metrics(whole.record)  # type: ignore[arg-type]


def test_ctrl_c_finishes_the_step_and_resumes_exactly(tmp_path: Path) -> None:
    whole = make_loop(tmp_path / "whole")
    whole.fit()

    class Pressed(DrawnLoader):
        def epoch(self, epoch: int, **given: Any) -> Any:
            for number, batch in enumerate(super().epoch(epoch, **given)):
                if (epoch, number) == (1, 2):
                    os.kill(os.getpid(), signal.SIGINT)
                yield batch

    before = signal.getsignal(signal.SIGINT)
    loop = make_loop(tmp_path, loader=Pressed())
    with pytest.raises(InterruptedByUser, match="after step 8"):
        loop.fit()
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(tmp_path / "checkpoints/last").info["step"] == 8
    make_loop(tmp_path, record=loop.record).fit(resume=True)
    end, again = (load_checkpoint(f / "checkpoints/last").model_state() for f in (tmp_path / "whole", tmp_path))
    assert same(end, again)


def test_ctrl_c_while_validating_stops_at_once_and_resumes_exactly(tmp_path: Path) -> None:
    whole = make_loop(tmp_path / "whole")
    whole.fit()
    calls: list[int] = []

    def pressed(model: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("validation went on")
        return score(model)

    loop = make_loop(tmp_path, validate=pressed)
    with pytest.raises(InterruptedByUser, match="after step 10"):
        loop.fit()
    make_loop(tmp_path, record=loop.record).fit(resume=True)
    end, again = (load_checkpoint(f / "checkpoints/last").model_state() for f in (tmp_path / "whole", tmp_path))
    assert same(end, again)
    kinds = ("step", "epoch")
    told = [[e for e in metrics(r) if e["kind"] in kinds] for r in (whole.record, loop.record)]  # type: ignore[arg-type]
    assert told[0] == told[1]


def test_fp16_and_its_gradient_scale_resume_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fabric and we both refuse fp16 on a CPU, where it is of no use; its scaler's state is still put to the test."""

    def fp16(train: Any) -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=4)
        return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])

    monkeypatch.setattr("espalier.trainer.engine.make_fabric", fp16)
    train = train_spec(precision="fp16", lr=0.01, checkpoint_every_steps=2)
    make_loop(tmp_path / "whole", train).fit()
    make_loop(tmp_path / "cut", train, record=killed_run(tmp_path / "cut", train, at=7)).fit(resume=True)
    ends = [load_checkpoint(tmp_path / name / "checkpoints/last") for name in ("whole", "cut")]
    assert same(ends[0].model_state(), ends[1].model_state())
    scales = [end.trainer_state().values["scaler"] for end in ends]
    assert scales[0] == scales[1]
    assert scales[0]["scale"] > 2.0**10  # it grew on the way


def test_numbers_go_to_tensorboard_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []
    writer = SimpleNamespace(add_scalar=lambda *values: written.append(values), close=lambda: None)
    module = SimpleNamespace(SummaryWriter=lambda folder, purge_step: writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    make_loop(tmp_path, train_spec(tensorboard=True)).fit()
    assert {name for name, _, _ in written} == {
        "loss/total", "lr", "accuracy", "mean_logit", "train_loss/total",
    }  # fmt: skip
    assert [step for name, _, step in written if name == "accuracy"] == [5, 10, 15]


def test_a_signal_that_ends_the_workers_still_saves(tmp_path: Path) -> None:
    class Ended(DrawnLoader):
        def epoch(self, epoch: int, **given: Any) -> Any:
            yield from (b for _, b in zip(range(2), super().epoch(epoch, **given), strict=False))
            os.kill(os.getpid(), signal.SIGTERM)
            raise WorkError("a process that reads pictures ended with code -15")

    with pytest.raises(InterruptedByUser):
        make_loop(tmp_path, loader=Ended()).fit()
    assert load_checkpoint(tmp_path / "checkpoints/last").info["step"] == 2


def test_nan_stops_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"nan at step 8(.|\n)*last good checkpoint is kept"):
        make_loop(tmp_path, loader=DrawnLoader(spoilt=2)).fit()
    kept = load_checkpoint(tmp_path / "checkpoints/last")
    assert kept.info["step"] == 5
    assert all(t.isfinite().all() for t in kept.model_state().values())


def test_a_loss_that_runs_away_stops(tmp_path: Path) -> None:
    train = train_spec(optimizer="sgd", lr=10.0, clip_norm=0.0, warmup_epochs=0, diverged_factor=3, epochs=50)
    with pytest.raises(DivergedError, match=r"ran away|NaN or infinite|became"):
        make_loop(tmp_path, train).fit()


def test_weights_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.engine.set_up()
    loop._save("last")
    with torch.no_grad():
        loop.engine.model.head.bias[0] = torch.nan  # type: ignore[union-attr,operator]
    with pytest.raises(DivergedError, match="a weight became NaN"):
        loop._save("last")
    assert load_checkpoint(tmp_path / "checkpoints/last").model_state()["head.bias"].isfinite().all()


def test_stops_when_it_no_longer_improves(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, train_spec(epochs=50, patience_epochs=2), validate=lambda _: {"accuracy": 0.5})
    result = loop.fit()
    assert (result.stopped, result.epochs, result.best_epoch) == ("patience", 3, 1)
    again = make_loop(tmp_path, train_spec(epochs=50, patience_epochs=2), record=loop.record)
    assert again.fit(resume=True).epochs == 3  # a finished run stays finished


def test_by_the_clock_the_rate_ends_with_the_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop(tmp_path, train_spec(epochs=1000, minutes=1.0, by_clock=True, lr=1.0, warmup_epochs=0))
    spent = property(lambda watch: 45.0)
    monkeypatch.setattr(type(loop.watch), "spent_s", spent)
    loop.engine.largest = lambda value: value  # type: ignore[method-assign]  # no group of processes yet
    assert loop.at.step == 0
    assert loop._due_step() == 0.75 * loop.total_steps
    assert loop._rate() == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(0.75 * math.pi)))


def test_stops_when_the_minutes_are_spent(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, train_spec(epochs=1000, minutes=1e-4))
    result = loop.fit()
    assert result.stopped == "minutes"
    assert result.steps < 1000
    assert load_checkpoint(result.best_path).info["figures"]["accuracy"] > 0
    more = make_loop(tmp_path, train_spec(epochs=2, minutes=10), record=loop.record).fit(resume=True)
    assert (more.stopped, more.epochs) == ("epochs", 2)


def test_more_epochs_go_on_from_the_end(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, train_spec(epochs=1))
    loop.fit()
    assert make_loop(tmp_path, train_spec(epochs=2), record=loop.record).fit(resume=True).steps == 10


def test_without_validation_the_end_is_the_best(tmp_path: Path) -> None:
    result = make_loop(tmp_path, validate=None).fit()
    assert result.best_value is None
    assert load_checkpoint(result.best_path).info["step"] == 15


def test_validation_follows_its_interval_and_the_end(tmp_path: Path) -> None:
    record = Memory()
    make_loop(tmp_path, train_spec(epochs=5, evaluate_every_epochs=2), record=record).fit()
    assert ["accuracy" in e["figures"] for e in record.of("epoch")] == [False, True, False, True, True]
    assert all(e["train_loss"]["total"] > 0 for e in record.of("epoch"))


def test_an_unknown_monitor_names_the_figures(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no 'f1'(.|\n)*accuracy, mean_logit"):
        make_loop(tmp_path, monitor="f1").fit()


def test_a_figure_that_is_nan_is_never_the_best(tmp_path: Path) -> None:
    result = make_loop(tmp_path, validate=lambda _: {"accuracy": float("nan")}).fit()
    assert result.best_value is None
    assert load_checkpoint(result.best_path).info["figures"] == {"accuracy": None}


def test_mixing_rests_in_the_last_epochs(tmp_path: Path) -> None:
    loader = DrawnLoader()
    make_loop(tmp_path, train_spec(off_last_epochs=2), loader=loader).fit()
    assert loader.asked == [(0, 0, True), (1, 0, False), (2, 0, False)]


def test_a_spec_that_is_not_resolved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"train\.lr: is still 'auto'"):
        make_loop(tmp_path, train_spec(lr="auto"))


class Hungry(Tiny):
    """Memory for `room` pictures at once."""

    room = 3

    def losses(self, batch: Any) -> Any:
        if batch.size > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().losses(batch)


def test_out_of_memory_halves_and_accumulates(tmp_path: Path) -> None:
    record = Memory()
    result = make_loop(tmp_path, model=Hungry, record=record).fit()
    assert result.steps == 15
    said = record.of("decision")
    assert [e["chosen"] for e in said] == ["8 in 4 parts"]
    assert load_checkpoint(tmp_path / "checkpoints/last").info["trainer"]["parts"] == 4


def test_not_even_one_picture_fits(tmp_path: Path) -> None:
    class Starved(Hungry):
        room = 0

    with pytest.raises(MemoryExhaustedError):
        make_loop(tmp_path, model=Starved).fit()


def test_the_probe_leaves_no_trace(tmp_path: Path) -> None:
    class Sated(Hungry):
        room = 8

    plain, probed = make_loop(tmp_path / "a"), make_loop(tmp_path / "b", model=Sated)
    probed._probe()
    assert probed.engine.parts == 1
    plain.fit()
    probed.fit()
    a, b = (load_checkpoint(tmp_path / n / "checkpoints/last").model_state() for n in "ab")
    assert same(a, b)


def test_parts_give_the_same_gradient(tmp_path: Path) -> None:
    """Without BatchNorm and dropout, a batch in parts is the same step to rounding."""
    ends = []
    for parts in (1, 4):
        loop: Loop = make_loop(tmp_path / str(parts), train_spec(freeze=("backbone",), epochs=1))
        loop.engine.parts = parts
        loop.engine.model.drop.p = 0.0  # type: ignore[union-attr,assignment]
        loop.fit()
        ends.append(loop.engine.model.head.weight)  # type: ignore[union-attr]
    torch.testing.assert_close(*ends)


def test_frozen_parts_do_not_move(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, train_spec(freeze=("backbone",)))
    before = {k: v.clone() for k, v in loop.engine.model.state_dict().items()}
    loop.fit()
    after = loop.engine.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.weight", "head.bias"}  # the frozen BatchNorm's statistics stay too


def test_a_resumed_run_keeps_its_number_of_threads(tmp_path: Path) -> None:
    before, seen = torch.get_num_threads(), []
    killed_run(tmp_path, train_spec(), at=7)
    last = tmp_path / "checkpoints/last/checkpoint.json"
    told = json.loads(last.read_text())
    told["trainer"]["threads"] = before + 1
    last.write_text(json.dumps(told))
    loop = make_loop(tmp_path, validate=lambda _: seen.append(torch.get_num_threads()) or {"accuracy": 0.5})
    loop.record.events.extend([{}] * 99)  # type: ignore[attr-defined]
    loop.fit(resume=True)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
