"""Corruption errors against a baseline, as published: mCE and relative mCE, paired over the same resamples.

With E the error at a severity s of a corruption c, E_clean that on clean pictures (Hendrycks and Dietterich 2019, 4.2):
CE_c = Σ_s E_sc / Σ_s E_sc of the baseline;  relative CE_c = Σ_s (E_sc - E_clean) / the same of the baseline;
mCE and relative mCE are their means over the common corruptions. The baseline itself has 100 %.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier import storage
from espalier.actions.robustness import Robustness, Suite, with_interval
from espalier.blocks import Figure
from espalier.errors import InputError, ModelError, Problem
from espalier.runs.record import RunRecord, read_record
from espalier.runs.run import Run

RESAMPLES = "corruptions.npz"
FIELD = "evaluate.corruptions.baseline"
UNPAIRED = "no interval: the baseline kept no resamples, or another number of them (evaluate.bootstrap)"


@dataclass(frozen=True)
class Conditions:
    """What must be the same for two suites to be compared."""

    main: str
    at: str
    seed: int
    severities: tuple[int, ...]
    fingerprint: str  # of the labelled pictures, classes in alphabetical order
    bootstrap: int


@dataclass(frozen=True)
class Baseline:
    """What another run scored: the clean figure and K corruptions at S severities, with B resamples or none."""

    path: str
    model: str
    names: tuple[str, ...]
    conditions: Conditions
    clean: float
    value_KS: NDArray[np.float64]
    clean_B: NDArray[np.float64]
    value_KSB: NDArray[np.float64]

    def fits(self, wanted: Suite, conditions: Conditions) -> None:
        """Raises ModelError that says in what it differs from this evaluation."""
        found = [
            Problem(FIELD, f"{self.path} is no baseline for this evaluation: {what}", fix=fix)
            for what, fix in _differences(self, wanted, conditions)
        ]
        if found:
            raise ModelError(*found)


@dataclass(frozen=True)
class Errors:
    """The errors against a baseline: of each counted corruption, and their means. None where it can't be told."""

    baseline: Baseline
    each: Mapping[str, Figure | None]
    mean: Figure | None
    relative: Figure | None
    left_out: tuple[str, ...]  # of the mean: corruptions under which the baseline errs nowhere
    left_out_relative: tuple[str, ...]  # of the relative one: those that cost the baseline nothing


def open_baseline(path: str) -> Baseline:
    """The suite of another run. Raises ModelError for what is no run, or one without scores on corrupted pictures."""
    record = read_record(Path(path))
    found = record.result.get("corruptions")
    fix = f"make one: espalier evaluate MODEL PICTURES --corruptions (it is a run of '{record.action}', {record.state})"
    if not isinstance(found, Mapping):
        raise ModelError(Problem(FIELD, f"{path} has no scores on corrupted pictures", fix=fix))
    try:
        return _baseline(path, record, found)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(Problem(FIELD, f"{path}: its scores on corrupted pictures are damaged", fix=fix)) from error


def errors(found: Robustness, baseline: Baseline) -> Errors:
    """mCE and relative mCE of what was found; the baseline must fit."""
    names = found.suite.counted
    ours = _errors(found.figure.value, found.value_KS, found, names, found.suite.names)
    theirs = _errors(baseline.clean, baseline.value_KS, found, names, baseline.names)
    ours_B = _errors(found.clean_B, found.value_KSB, found, names, found.suite.names)
    theirs_B = _errors(baseline.clean_B, baseline.value_KSB, found, names, baseline.names)
    paired = ours_B[1].shape == theirs_B[1].shape
    each_K, each_KB = _over(ours[1], theirs[1]), _over(ours_B[1], theirs_B[1]) if paired else np.zeros((len(names), 0))
    more_K = _over(ours[1] - ours[0], theirs[1] - theirs[0])
    more_KB = _over(ours_B[1] - ours_B[0], theirs_B[1] - theirs_B[0]) if paired else np.zeros((len(names), 0))
    kept_K, told_K = np.isfinite(each_K), np.isfinite(more_K)
    each = {name: _figure("CE", each_K[k : k + 1], each_KB[k : k + 1]) for k, name in enumerate(names)}
    return Errors(
        baseline, each, _figure("mean corruption error (mCE)", each_K[kept_K], each_KB[kept_K]),
        _figure("relative mCE", more_K[told_K], more_KB[told_K]), _without(names, kept_K), _without(names, told_K),
    )  # fmt: skip


def _without(names: Sequence[str], kept_K: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, kept in zip(names, kept_K, strict=True) if not kept)


def keep_resamples(run: Run, found: Robustness) -> None:
    """The resamples beside run.json, so that a later run can be paired with this one."""
    content = io.BytesIO()
    np.savez_compressed(content, clean_B=found.clean_B, value_KSB=found.value_KSB)
    storage.write_atomic(run.path / RESAMPLES, content.getvalue())


def _baseline(path: str, record: RunRecord, found: Mapping[str, Any]) -> Baseline:
    names = tuple(found["each"])
    told = found["conditions"]
    severities = tuple(int(s) for s in told["severities"])
    scores = [[found["each"][name]["scores"][str(s)] for s in severities] for name in names]
    conditions = Conditions(
        told["main"], told["at"], int(told["seed"]), severities, told["fingerprint"], int(told["bootstrap"])
    )
    value_KS = np.array(scores, np.float64)
    clean_B, value_KSB = _resamples(Path(path) / RESAMPLES, value_KS.shape)
    return Baseline(
        path, str(told["model"]), names, conditions, float(found["clean"]["value"]), value_KS, clean_B, value_KSB
    )


def _resamples(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Those that the run kept; none where the file is gone: the baseline's values do without."""
    none = np.zeros(0), np.zeros((*shape, 0))
    if not path.is_file():
        return none
    try:
        with np.load(path, allow_pickle=False) as kept:
            clean_B, value_KSB = kept["clean_B"].astype(np.float64), kept["value_KSB"].astype(np.float64)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(Problem(str(path), "is damaged", fix="evaluate the baseline again")) from error
    return (clean_B, value_KSB) if value_KSB.shape == (*shape, len(clean_B)) else none


def _errors(
    clean: Any, values: NDArray[np.float64], found: Robustness, names: Sequence[str], there: Sequence[str]
) -> tuple[Any, NDArray[np.float64]]:
    """(clean error, error of each name: the mean over severities), of a score its rest to one."""
    means = values[[there.index(name) for name in names]].mean(axis=1)
    return (1 - clean, 1 - means) if found.higher_is_better else (clean, means)


def _over(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratio; NaN where the baseline loses nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(theirs > 1e-9, ours / theirs, np.nan)


def _figure(name: str, value_K: NDArray[np.float64], value_KB: NDArray[np.float64]) -> Figure | None:
    """Their mean; None of none. Resamples in which the baseline loses nothing say nothing."""
    if not len(value_K) or not np.isfinite(value_K).all():
        return None
    known = np.isfinite(value_KB)
    count_B = known.sum(axis=0)
    means_B = np.where(known, value_KB, 0).sum(axis=0) / np.maximum(count_B, 1)
    found = with_interval(name, float(value_K.mean()), means_B[count_B > 0], "%", none=UNPAIRED)
    note = "less is better; the baseline has 100 %"
    return Figure(name, found.value, found.low, found.high, "%", f"{note}; {found.note}" if found.note else note)


def check_figure(found: Figure, higher_is_better: bool) -> None:
    """Raises InputError for a headline figure that has no error to relate: one minus it must be a share."""
    if higher_is_better and not 0 <= found.value <= 1:
        what = f"{found.name} is {found.value:.4g}, which is no share, so that it has no error (one minus it)"
        raise InputError(Problem(FIELD, what, fix="leave the baseline out"))


def _differences(baseline: Baseline, wanted: Suite, ours: Conditions) -> Iterator[tuple[str, str]]:
    """What keeps the baseline from being one, and what to do about it."""
    theirs = baseline.conditions
    if theirs.main != ours.main:
        yield f"its headline figure is {theirs.main}, this one's {ours.main}", "compare models of one task"
    if theirs.fingerprint != ours.fingerprint:
        yield "it was scored on other pictures or labels", "evaluate both on the same pictures"
    missing = [name for name in wanted.names if name not in baseline.names]
    if missing:
        yield f"it has no scores of {', '.join(missing)}", f"evaluate.corruptions.which=[{','.join(baseline.names)}]"
    if theirs.severities != ours.severities:
        said = ",".join(map(str, theirs.severities))
        yield f"its severities are {said}", f"evaluate.corruptions.severities=[{said}]"
    if theirs.at != ours.at:
        yield f"its pictures were corrupted at the {theirs.at}", f"evaluate.corruptions.at={theirs.at}"
    if theirs.seed != ours.seed:
        yield f"its corruptions were drawn with seed {theirs.seed}", f"seed={theirs.seed}"
