"""evaluate --corruptions on models of a few lines: a classifier, and a finder of boxes; baselines; what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.actions import corruption_blocks, corruption_error, corruptions, evaluate, robustness
from espalier.actions.robustness import Robustness, Suite
from espalier.actions.scoring import score
from espalier.blocks import Bars, Curve, Figure, Gallery, Headline, Table
from espalier.data.formats import read_index
from espalier.data.samples import Samples
from espalier.errors import InputError, ModelError, SpecError
from espalier.runs.report import write_report
from espalier.runs.run import Run
from espalier.runtime.predictor import Predictor
from espalier.spec.sections import Spec
from espalier.spec.verbs import CorruptionsSpec, EvaluateSpec
from espalier.tasks import base as tasks
from espalier.tasks.detection import Detections
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Prepare, standard_prepare

FEW = CorruptionsSpec(enabled=True, which=("noise", "contrast", "saturate"), severities=(1, 5), workers=0)


class Contrasts:
    """Three logits from how much a picture varies along and across: what tells disc, bars and plain apart."""

    name, device = "toy", "cpu"

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        image_BCHW = inputs["image"]
        stripes = image_BCHW.mean(axis=2).std(axis=(1, 2))
        middle = np.abs(image_BCHW[:, 0, 10:22, 10:22].mean(axis=(1, 2)) - image_BCHW[:, 0].mean(axis=(1, 2)))
        return {"logits": 30 * np.stack([stripes, 0.6 * middle, np.full(len(middle), 0.11)], axis=1)}


class Toy:
    """What evaluate asks of a model."""

    kind, name, path, spec, info, holds_out, tiling = "bundle", "toy", Path("toy"), None, None, True, None

    def __init__(self, task: Any, prepare: Prepare, backend: Any, decoder: Any, classes: Sequence[str]) -> None:
        self.task, self.prepare, self.backend, self.decoder, self.classes = task, prepare, backend, decoder, classes
        self.channels = "rgb"

    def predictor(self, *, batch_size: int = 8) -> Predictor:
        return Predictor(self.prepare, self.backend, self.decoder, self.classes, {}, batch_size=batch_size)


@pytest.fixture(scope="module")
def samples(photos: Path) -> Samples:
    return Samples(read_index(str(photos)), tasks.get("classification"))


@pytest.fixture(scope="module")
def toy(samples: Samples) -> Any:
    task = samples.task
    return Toy(task, standard_prepare((32, 32)), Contrasts(), task.decoder("softmax", 1), samples.index.classes)


def evaluated(run: Run, toy: Any, photos: Path, asked: CorruptionsSpec, *, seed: int = 0, bootstrap: int = 100) -> Any:
    """The action itself, on a model that is at hand."""
    spec = Spec(seed=seed, evaluate=EvaluateSpec(model="toy", data=str(photos), bootstrap=bootstrap, corruptions=asked))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "opened", lambda *_, **__: [toy])
        return run.finish(evaluate.evaluate(spec, run))


@pytest.fixture(scope="module")
def done(toy: Any, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for others to take as a baseline."""
    with Run.create("base", out=tmp_path_factory.mktemp("base") / "run", action="evaluate") as run:
        evaluated(run, toy, photos, FEW)
    return run.path


def shown(run: Run) -> list[dict[str, Any]]:
    events = (json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines())
    return [e["block"] for e in events if e["kind"] == "block" and e["section"] == "robustness"]


def test_the_result_is_the_mean_over_corruptions_and_severities(toy: Any, photos: Path, tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "a", action="evaluate") as run:
        found = evaluated(run, toy, photos, FEW)["corruptions"]
    assert list(found["each"]) == ["gaussian_noise", "shot_noise", "impulse_noise", "contrast", "saturate"]
    assert found["conditions"]["counted"] == list(found["each"])[:4]  # saturate is one of the four extra ones
    means = [sum(one["scores"].values()) / 2 for one in found["each"].values()]
    assert found["mean"]["value"] == pytest.approx(sum(means[:4]) / 4)
    assert found["retention"]["value"] == pytest.approx(found["mean"]["value"] / found["clean"]["value"])
    assert found["mean"]["low"] < found["mean"]["value"] < found["mean"]["high"]
    assert found["retention"]["low"] < found["retention"]["value"] < found["retention"]["high"]
    kinds = [block["kind"] for block in shown(run)]
    assert kinds == [Headline.kind, Bars.kind, Curve.kind, Table.kind, Gallery.kind]
    page = write_report(run.path).read_text("utf-8")
    assert "Robustness" in page
    assert page.count("data:image/jpeg") >= 6


def test_contrast_costs_this_model_more_than_saturation(done: Path) -> None:
    each = json.loads((done / "run.json").read_text())["result"]["corruptions"]["each"]
    assert each["contrast"]["retention"]["value"] < each["saturate"]["retention"]["value"]


def test_neither_workers_nor_batches_change_a_number(toy: Any, samples: Samples) -> None:
    few = samples.spread(9)
    wanted = Suite(("shot_noise", "glass_blur"), (2, 4))
    clean = score(toy.predictor(), few, bootstrap=0, seed=0).scores
    found = []
    for workers, batch_size in ((0, 8), (2, 3)):
        with Run.nowhere() as run:
            asked = CorruptionsSpec(workers=workers)
            found.append(
                robustness.measure(toy, clean, few, wanted, asked, run, batch_size=batch_size, bootstrap=50, seed=1)
            )
    assert np.array_equal(found[0].value_KS, found[1].value_KS)
    assert np.array_equal(found[0].value_KSB, found[1].value_KSB)


def made(
    value_KS: Any, clean: float = 0.8, *, higher: bool = True, names: tuple[str, ...] = ("fog", "frost")
) -> Robustness:
    """Of values that a reader can check in the head; resamples move all scores together."""
    value_KS = np.array(value_KS, float)
    move_B = np.array([-0.05, 0.0, 0.05])
    suite = Suite(names, tuple(range(1, value_KS.shape[1] + 1)))
    figure = Figure("accuracy", clean, clean - 0.1, clean + 0.1, "%")
    return Robustness(
        suite, figure, "accuracy", higher, value_KS, clean + move_B, value_KS[..., None] + move_B, 10, 1.0
    )


def baseline(value_KS: Any, clean: float = 0.8) -> corruption_error.Baseline:
    found = made(value_KS, clean)
    conditions = corruption_error.Conditions("accuracy", "input", 0, found.suite.severities, "f", 3)
    return corruption_error.Baseline(
        "base", "base", found.suite.names, conditions, clean, found.value_KS, found.clean_B, found.value_KSB
    )


def test_mean_and_retention_by_hand() -> None:
    found = made([[0.6, 0.4], [0.5, 0.1]])
    assert found.mean().value == pytest.approx(0.4)
    assert found.mean(["fog"]).value == pytest.approx(0.5)
    kept = found.retention()
    assert kept is not None
    assert kept.value == pytest.approx(0.5)
    # paired: 0.35 / 0.75 and 0.45 / 0.85, near the ends of the middle 95 %
    assert (kept.low, kept.high) == pytest.approx((0.35 / 0.75, 0.45 / 0.85), abs=0.005)


def test_corruption_errors_by_the_papers_formula() -> None:
    """CE = 0.5 / 0.4 and 0.7 / 0.5; relative (0.5 - 0.2) / (0.4 - 0.3) and (0.7 - 0.2) / (0.5 - 0.3)."""
    found = corruption_error.errors(made([[0.6, 0.4], [0.5, 0.1]]), baseline([[0.7, 0.5], [0.6, 0.4]], clean=0.7))
    assert found.mean is not None
    assert found.relative is not None
    assert found.each["fog"] is not None
    assert found.each["fog"].value == pytest.approx(0.5 / 0.4)
    assert found.mean.value == pytest.approx((0.5 / 0.4 + 0.7 / 0.5) / 2)
    assert found.relative.value == pytest.approx((0.3 / 0.1 + 0.5 / 0.2) / 2)
    assert (found.left_out, found.left_out_relative) == ((), ())
    assert "less is better" in found.mean.note


def test_a_corruption_that_costs_the_baseline_nothing_is_left_out() -> None:
    found = corruption_error.errors(made([[0.6, 0.4], [0.5, 0.1]]), baseline([[1.0, 1.0], [0.6, 0.4]], clean=1.0))
    assert found.left_out == ("fog",)
    assert found.each["fog"] is None
    assert found.mean is not None
    assert found.mean.value == pytest.approx(0.7 / 0.5)


def test_what_only_the_relative_error_lacks_is_told_of_it_alone() -> None:
    """The baseline errs in fog as on clean pictures: CE = 0.5 / 0.2 counts, and a ratio of losses can't be told."""
    robust, base = made([[0.6, 0.4], [0.5, 0.1]]), baseline([[0.8, 0.8], [0.6, 0.4]], clean=0.8)
    found = corruption_error.errors(robust, base)
    assert (found.left_out, found.left_out_relative) == ((), ("fog",))
    assert found.mean is not None
    assert found.mean.value == pytest.approx((0.5 / 0.2 + 0.7 / 0.5) / 2)
    headline = corruption_blocks.blocks(robust, found, "here")[0]
    assert isinstance(headline, Headline)
    assert headline.note.endswith("mCE against base (base); relative mCE without fog, which cost it nothing")


def test_a_baseline_of_other_resamples_gives_no_interval_and_says_so() -> None:
    base = replace(baseline([[0.7, 0.5], [0.6, 0.4]]), clean_B=np.zeros(0), value_KSB=np.zeros((2, 2, 0)))
    found = corruption_error.errors(made([[0.6, 0.4], [0.5, 0.1]]), base)
    assert found.mean is not None
    assert found.mean.low is None
    assert "the baseline kept no resamples" in found.mean.note


def test_everything_that_keeps_a_baseline_from_being_one_is_told_at_once() -> None:
    base = baseline([[0.7, 0.5], [0.6, 0.4]])
    others = replace(base.conditions, seed=4, at="source", fingerprint="g")
    with pytest.raises(ModelError) as raised:
        base.fits(Suite(("fog",), (1, 2)), others)
    assert [problem.fix for problem in raised.value.problems] == [
        "evaluate both on the same pictures", "evaluate.corruptions.at=input", "seed=0"
    ]  # fmt: skip


def test_where_less_is_better_the_score_is_the_error() -> None:
    found = made([[0.4, 0.6], [0.5, 0.9]], clean=0.3, higher=False)
    grown = found.retention()
    assert grown is not None
    assert "less is better" in grown.note
    assert "growth" in grown.name
    related = corruption_error.errors(found, baseline([[0.2, 0.2], [0.2, 0.2]], clean=0.1))
    assert related.mean is not None
    assert related.mean.value == pytest.approx((0.5 / 0.2 + 0.7 / 0.2) / 2)
    bars = corruption_blocks.blocks(found, None, "")[1]
    assert isinstance(bars, Bars)
    assert list(bars.names) == ["frost", "fog"]  # worst first


def test_without_resamples_there_are_no_intervals_and_it_says_why() -> None:
    figure = robustness.with_interval("a", 0.5, np.zeros(0), "%")
    assert (figure.low, figure.note) == (None, "no interval: evaluate.bootstrap is 0")
    figure = robustness.with_interval("a", 1.0, np.ones(9), "%")
    assert (figure.low, figure.note) == (None, "no interval: every resample gives the same")


def test_a_model_that_gets_nothing_right_keeps_nothing() -> None:
    found = made([[0.0, 0.0], [0.0, 0.0]], clean=0.0)
    assert found.retention() is None
    assert len(corruption_blocks.blocks(found, None, "nothing")) == 4


def test_a_model_is_its_own_baseline_of_100_percent(toy: Any, photos: Path, done: Path, tmp_path: Path) -> None:
    asked = FEW.model_copy(update={"baseline": str(done)})
    with Run.create("b", out=tmp_path / "b", action="evaluate") as run:
        found = evaluated(run, toy, photos, asked)["corruptions"]
    assert found["mce"]["value"] == pytest.approx(1)
    assert found["each"]["contrast"]["ce"]["value"] == pytest.approx(1)
    assert found["baseline"] == str(done)
    table = next(block for block in shown(run) if block["kind"] == "table")
    assert table["columns"][-1] == "CE"


@pytest.mark.parametrize(("changed", "seed", "words"), [
    ({"which": ("common",)}, 0, "it has no scores of defocus_blur"), ({}, 4, "drawn with seed 0"),
    ({"severities": (1, 2)}, 0, "its severities are 1,5"), ({"at": "source"}, 0, "corrupted at the input"),
])  # fmt: skip
def test_a_baseline_under_other_conditions_is_refused(
    toy: Any, photos: Path, done: Path, changed: dict[str, Any], seed: int, words: str
) -> None:
    asked = FEW.model_copy(update={"baseline": str(done), **changed})
    with Run.nowhere() as run, pytest.raises(ModelError, match=words):
        evaluated(run, toy, photos, asked, seed=seed)


def test_a_baseline_on_other_pictures_is_refused(toy: Any, samples: Samples, done: Path) -> None:
    asked = EvaluateSpec(corruptions=FEW.model_copy(update={"baseline": str(done)}))
    some = samples.spread(9)
    with Run.nowhere() as run:
        wanted = corruptions.wanted(asked.corruptions, run)
        assert wanted is not None
        with pytest.raises(ModelError, match="other pictures"):
            wanted.check(score(toy.predictor(), some, bootstrap=0, seed=0).scores, some, asked, seed=0)


def test_what_is_no_baseline_is_refused(tmp_path: Path, done: Path) -> None:
    with pytest.raises(ModelError, match="not a run"):
        corruption_error.open_baseline(str(tmp_path))
    with Run.create("plain", out=tmp_path / "plain", action="evaluate") as run:
        run.finish({"main": "accuracy"})
    with pytest.raises(ModelError, match="no scores on corrupted pictures"):
        corruption_error.open_baseline(str(run.path))
    with Run.create("bad", out=tmp_path / "bad", action="evaluate") as run:
        run.finish({"corruptions": {"each": {"fog": {}}}})
    with pytest.raises(ModelError, match="damaged"):
        corruption_error.open_baseline(str(run.path))
    with Run.create("torn", out=tmp_path / "torn", action="evaluate") as run:
        run.finish(json.loads((done / "run.json").read_text())["result"])
        (run.path / corruption_error.RESAMPLES).write_bytes((done / corruption_error.RESAMPLES).read_bytes()[:50])
    with pytest.raises(ModelError, match="damaged"):
        corruption_error.open_baseline(str(run.path))
    (run.path / corruption_error.RESAMPLES).unlink()
    assert corruption_error.open_baseline(str(run.path)).clean_B.shape == (0,)


def test_a_figure_that_is_no_share_has_no_error() -> None:
    with pytest.raises(InputError, match="no share"):
        corruption_error.check_figure(Figure("PSNR", 31.0), higher_is_better=True)
    corruption_error.check_figure(Figure("distance", 31.0), higher_is_better=False)


@pytest.mark.parametrize(("which", "words"), [(("frots",), "did you mean 'frost'"), ((), "no corruption is asked for")])
def test_unknown_corruptions_are_refused_before_anything_is_done(which: tuple[str, ...], words: str) -> None:
    with Run.nowhere() as run, pytest.raises(SpecError, match=words):
        corruptions.wanted(CorruptionsSpec(enabled=True, which=which), run)


def test_severities_are_1_to_5() -> None:
    with pytest.raises(ValueError, match="out of range"):
        CorruptionsSpec(severities=(0, 3))
    with pytest.raises(SpecError, match="no severity"):
        robustness.suite(CorruptionsSpec(severities=()))


def test_fields_without_the_switch_warn() -> None:
    told: list[str] = []
    with Run.nowhere() as run:
        run.listeners.append(lambda event: told.append(str(event.get("text"))))
        assert corruptions.wanted(CorruptionsSpec(), run) is None
        assert not told
        assert corruptions.wanted(CorruptionsSpec(which=("fog",)), run) is None
    assert "no effect" in told[0]


class Brightest:
    """The box around what is brighter than the middle of the range, in input pixels."""

    name, device = "toy", "cpu"

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        boxes = []
        for image_CHW in inputs["image"]:
            grey_HW = image_CHW.mean(axis=0)
            y, x = np.nonzero(grey_HW > (grey_HW.max() + np.median(grey_HW)) / 2)
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        return {"box": np.array(boxes, float)}


def to_source(outputs: Any, geometries: Sequence[Geometry], classes: Any, params: Any) -> list[Detections]:
    boxes = [g.boxes_to_source(box) for g, box in zip(geometries, outputs["box"], strict=True)]
    return [Detections(box, np.ones(1), np.zeros(1)) for box in boxes]


@pytest.mark.parametrize("at", ["input", "source"])
def test_boxes_stay_where_they_are_through_a_letterbox(tmp_path: Path, at: Any) -> None:
    from PIL import Image

    truth = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "square"}]}
    for n, (x, y) in enumerate(((10, 8), (60, 30), (30, 20))):
        image = np.full((60, 100, 3), 60, np.uint8)
        image[y : y + 24, x : x + 30] = 230
        Image.fromarray(image).save(tmp_path / f"{n}.png")
        truth["images"].append({"id": n, "file_name": f"{n}.png", "width": 100, "height": 60})
        box = {"id": n, "image_id": n, "category_id": 1, "bbox": [x, y, 30, 24], "area": 720, "iscrowd": 0}
        truth["annotations"].append(box)
    (tmp_path / "labels.json").write_text(json.dumps(truth))
    task = tasks.get("detection")
    found_at = Samples(read_index(str(tmp_path / "labels.json"), images=str(tmp_path)), task)
    toy: Any = Toy(task, standard_prepare((50, 50), fit="letterbox"), Brightest(), to_source, ("square",))
    scored = score(toy.predictor(), found_at, bootstrap=0, seed=0)
    assert scored.scores.value > 0.95
    asked = EvaluateSpec(bootstrap=20, corruptions=CorruptionsSpec(
        enabled=True, which=("brightness", "contrast", "jpeg_compression", "pixelate", "defocus_blur", "gaussian_blur"),
        severities=(1, 2), workers=0, at=at,
    ))  # fmt: skip
    with Run.nowhere() as run:
        wanted = corruptions.wanted(asked.corruptions, run)
        assert wanted is not None
        result = corruptions.measured(toy, scored, found_at, wanted, asked, run, seed=0)
        assert len(list((run.path / "pictures").iterdir())) == 7
    for name, one in result["each"].items():
        assert one["mean"]["value"] > 0.75, name
