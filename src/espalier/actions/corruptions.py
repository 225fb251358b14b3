"""`evaluate --corruptions`: the suite measured on the model that is deployed, related to a baseline, shown and kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from espalier.actions import corruption_blocks, corruption_error
from espalier.actions.corruption_error import Baseline, Conditions, Errors
from espalier.actions.models import OpenModel
from espalier.actions.robustness import Robustness, Suite, measure, suite
from espalier.actions.scoring import Scored, words
from espalier.blocks import Figure
from espalier.data.samples import Samples
from espalier.runs.run import Run
from espalier.spec.verbs import CorruptionsSpec, EvaluateSpec
from espalier.tasks.base import Scores


@dataclass(frozen=True)
class Wanted:
    """The suite and the baseline that a spec asks for."""

    suite: Suite
    baseline: Baseline | None

    def check(self, clean: Scores, samples: Samples, asked: EvaluateSpec, *, seed: int) -> None:
        """Raises ModelError for a baseline that does not fit, InputError for a figure that has no error."""
        if self.baseline is not None:
            self.baseline.fits(self.suite, _conditions(self.suite, clean, samples, asked, seed))
            corruption_error.check_figure(clean.figures[clean.main], clean.higher_is_better)


def wanted(asked: CorruptionsSpec, run: Run) -> Wanted | None:
    """What is asked for, None where the suite is off. Raises SpecError, and ModelError for a bad baseline."""
    if not asked.enabled:
        if asked != CorruptionsSpec():
            run.warn("evaluate.corruptions: has no effect without --corruptions")
        return None
    baseline = None if asked.baseline is None else corruption_error.open_baseline(asked.baseline)
    return Wanted(suite(asked), baseline)


def measured(
    model: OpenModel, scored: Scored, samples: Samples, wanted: Wanted, asked: EvaluateSpec, run: Run, *, seed: int
) -> dict[str, Any]:
    """The suite's result as JSON data; its blocks go to the run, and its resamples beside run.json.

    Of a run's checkpoint and bundle the bundle alone is measured: it is what is deployed, export has proven that both
    say the same, and the suite takes as long as some hundred evaluations.
    """
    spec = asked.corruptions
    count = len(wanted.suite.all)
    run.say(
        f"scoring the {model.kind} under {len(wanted.suite.names)} corruptions, {count} times {len(samples)} pictures"
    )
    found = measure(
        model, scored.scores, samples, wanted.suite, spec, run,
        batch_size=asked.batch_size, bootstrap=asked.bootstrap, seed=seed,
    )  # fmt: skip
    related = None if wanted.baseline is None else corruption_error.errors(found, wanted.baseline)
    _say(run, model, found, related)
    where = f"the {model.kind} on {found.pictures} pictures, corrupted at the {_at(spec, model)}"
    for block in corruption_blocks.blocks(found, related, where):
        run.block(corruption_blocks.SECTION, block)
    for gallery in corruption_blocks.galleries(
        run, model, samples, scored, wanted.suite, at=spec.at, seed=seed, count=spec.pictures
    ):
        run.block(corruption_blocks.SECTION, gallery)
    corruption_error.keep_resamples(run, found)
    return _result(found, related, model, _conditions(wanted.suite, scored.scores, samples, asked, seed))


def _at(spec: CorruptionsSpec, model: OpenModel) -> str:
    if spec.at == "source":
        return "pictures' own pixels"
    height, width = model.prepare.size_hw
    tile = "" if model.tiling is None else " tile by tile"
    return f"network's {width} × {height} px{tile}"


def _say(run: Run, model: OpenModel, found: Robustness, related: Errors | None) -> None:
    for figure in (found.mean(), found.retention(), *(() if related is None else (related.mean, related.relative))):
        if figure is not None:
            run.say(f"{model.kind}: {words(figure)}")


def _conditions(wanted: Suite, clean: Scores, samples: Samples, asked: EvaluateSpec, seed: int) -> Conditions:
    index = samples.index
    print_ = index.with_classes(sorted(index.classes)).fingerprint()
    return Conditions(clean.main, asked.corruptions.at, seed, wanted.severities, print_, asked.bootstrap)


def _result(found: Robustness, related: Errors | None, model: OpenModel, conditions: Conditions) -> dict[str, Any]:
    wanted = found.suite
    each = {
        name: {
            "group": corruption_blocks.group(name),
            "scores": {str(s): float(v) for s, v in zip(wanted.severities, found.value_KS[k], strict=True)},
            "mean": _json(found.mean([name])),
            "retention": _json(found.retention([name])),
            **({} if related is None else {"ce": _json(related.each.get(name))}),
        }
        for k, name in enumerate(wanted.names)
    }
    result: dict[str, Any] = {
        "clean": _json(found.figure), "mean": _json(found.mean()), "retention": _json(found.retention()),
    }  # fmt: skip
    if related is not None:
        result |= {
            "mce": _json(related.mean), "relative_mce": _json(related.relative),
            "baseline": related.baseline.path, "left_out": related.left_out,
            "left_out_relative": related.left_out_relative,
        }  # fmt: skip
    told = {
        "model": model.name, "kind": model.kind, "higher_is_better": found.higher_is_better, "pictures": found.pictures,
        "counted": wanted.counted, **asdict(conditions),
    }  # fmt: skip
    return {**result, "seconds": round(found.seconds, 1), "each": each, "conditions": told}


def _json(figure: Figure | None) -> dict[str, Any] | None:
    return None if figure is None else {"value": figure.value, "low": figure.low, "high": figure.high}
