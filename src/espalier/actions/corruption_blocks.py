"""What a report shows of a model on corrupted pictures: figures, bars, lines, a table, and the pictures themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.actions.corruption_error import Errors
from espalier.actions.models import OpenModel
from espalier.actions.robustness import Robustness, Suite, with_interval
from espalier.actions.scoring import Scored
from espalier.blocks import Bars, Block, Curve, Figure, Gallery, Headline, Picture, Series, Table
from espalier.data.corrupted import At, CorruptedMaker, CorruptedPlan
from espalier.data.samples import Samples
from espalier.runs.run import Run
from espalier.tasks.base import Sample
from espalier.vision.corruptions import GROUPS, SEVERITIES, Corruption
from espalier.vision.geometry import Geometry
from espalier.vision.prepare import Placed

SECTION = "robustness"


def blocks(found: Robustness, related: Errors | None, where: str) -> list[Block]:
    """All but the pictures; `where` says what was scored and on what."""
    return [_headline(found, related, where), _bars(found), _curve(found), _table(found, related)]


def words(name: str) -> str:
    """`jpeg_compression` as people write it."""
    return {"jpeg_compression": "JPEG compression"}.get(name, name.replace("_", " "))


def group(name: str) -> str:
    """The corruption's group."""
    return next(group for group, names in GROUPS.items() if name in names)


def galleries(
    run: Run, model: OpenModel, samples: Samples, scored: Scored, suite: Suite, *, at: At, seed: int, count: int
) -> list[Gallery]:
    """Some pictures that the model gets right, each under every corruption with the model's answer."""
    severity = min(suite.severities, key=lambda s: (abs(s - 3), s))
    shown = []
    for number, row in enumerate(_rows(samples, scored, count), 1):
        pictures = list(_shown(run, model, samples, row, suite, at, seed, severity, number))
        title = f"Under each corruption at severity {severity}: {samples.index.name(row)}"
        note = "as the network sees it, with its answer" if at == "input" else "corrupted in its own pixels"
        note += "" if model.tiling is None else "; the fullest tile"
        shown.append(Gallery(title, pictures, note))
    return shown


def _headline(found: Robustness, related: Errors | None, where: str) -> Headline:
    less = "" if found.higher_is_better else "less is better"
    mean, clean = found.mean(), found.figure
    figures: list[Figure | None] = [
        Figure(mean.name, mean.value, mean.low, mean.high, mean.unit, "; ".join(filter(None, [less, mean.note]))),
        Figure(f"{clean.name} on clean pictures", clean.value, clean.low, clean.high, clean.unit, less),
        found.retention(),
    ]
    if related is not None:
        figures += [related.mean, related.relative]
    counted = len(found.suite.counted)
    note = f"{where}; the mean over {counted} corruptions at {_severities(found.suite)}, paired resamples"
    if related is not None:
        note += f"; mCE against {related.baseline.model} ({related.baseline.path})" + _left_out(related)
    return Headline("On corrupted pictures", [figure for figure in figures if figure is not None], note)


def _left_out(related: Errors) -> str:
    """Which corruptions a ratio can't be told of, and why."""
    told = ""
    if related.left_out:
        told += f", without {', '.join(map(words, related.left_out))}, where the baseline errs nowhere"
    if related.left_out_relative:
        told += f"; relative mCE without {', '.join(map(words, related.left_out_relative))}, which cost it nothing"
    return told


def _bars(found: Robustness) -> Bars:
    """Retention of each corruption, worst first."""
    kept = {name: found.retention([name]) or found.mean([name]) for name in found.suite.names}
    order = sorted(kept, key=lambda name: kept[name].value, reverse=not found.higher_is_better)
    share = found.retention() is not None
    return Bars(
        "What each corruption leaves" if share and found.higher_is_better else "What each corruption does",
        [words(name) for name in order],
        [kept[name].value for name in order],
        [_end(kept[name].low, kept[name].value) for name in order],
        [_end(kept[name].high, kept[name].value) for name in order],
        "%" if share else found.figure.unit,
        f"{found.figure.name} when corrupted{' over that on clean pictures' if share else ''}, worst first",
    )  # fmt: skip


def _curve(found: Robustness) -> Curve:
    """A line a group over the severities; severity 0 is the clean picture."""
    series = [_line(found, name, names) for name, names in GROUPS.items() if set(names) & set(found.suite.names)]
    scale = f"{found.figure.name}" + (", less is better" if not found.higher_is_better else "")
    return Curve(
        "By severity", "severity (0: clean)", scale, series,
        "the mean of each group of corruptions; the band is its 95 % interval",
    )  # fmt: skip


def _line(found: Robustness, name: str, names: Sequence[str]) -> Series:
    rows = [k for k, own in enumerate(found.suite.names) if own in names]
    clean = found.figure
    figures = [Figure("", clean.value, clean.low, clean.high)]
    for s in range(len(found.suite.severities)):
        values_B = found.value_KSB[rows, s].mean(axis=0)
        figures.append(with_interval("", float(found.value_KS[rows, s].mean()), values_B, ""))
    banded = any(figure.low is not None for figure in figures[1:])
    return Series(
        name, [0, *found.suite.severities], [figure.value for figure in figures],
        [_end(figure.low, figure.value) for figure in figures] if banded else None,
        [_end(figure.high, figure.value) for figure in figures] if banded else None,
    )  # fmt: skip


def _table(found: Robustness, related: Errors | None) -> Table:
    unit = found.figure.unit
    columns = ["corruption", "group", *map(str, found.suite.severities), "mean", "retention"]
    rows: list[list[str | Figure | None]] = []
    for k, name in enumerate(found.suite.names):
        cells = [
            Figure(str(s), float(v), unit=unit) for s, v in zip(found.suite.severities, found.value_KS[k], strict=True)
        ]
        rows.append([words(name), group(name), *cells, found.mean([name]), found.retention([name])])
        if related is not None:
            rows[-1].append(related.each.get(name))
    note = f"{found.figure.name} at each severity; {'more' if found.higher_is_better else 'less'} is better. "
    if set(found.suite.names) - set(found.suite.counted):
        note += "The group 'extra' is not in the means above, as published."
    return Table("Each corruption", [*columns, *(["CE"] if related is not None else [])], rows, note.strip())


def _severities(suite: Suite) -> str:
    if suite.severities == SEVERITIES:
        return "severities 1 to 5"
    return f"severity {', '.join(map(str, suite.severities))}"


def _end(end: float | None, value: float) -> float:
    return value if end is None else end


def _rows(samples: Samples, scored: Scored, count: int) -> list[int]:
    """Rows of scored pictures that the clean answer gets right, spread over the set; of any where none is right."""
    names = {samples.index.name(row): row for row in range(len(samples))}
    found = samples.task.mistakes(scored.predictions, scored.samples, samples.index.classes)
    wrong = {scored.samples[mistake.index].name for mistake in found if mistake.wrong}
    known = list(dict.fromkeys(scored.scores.names)) or list(names)
    right = [name for name in known if name not in wrong] or known
    places = np.linspace(0, len(right), count + 2)[1:-1] if count else np.zeros(0)
    return sorted({names[right[min(int(place), len(right) - 1)]] for place in places})


def _shown(
    run: Run, model: OpenModel, samples: Samples, row: int, suite: Suite, at: At, seed: int, severity: int, number: int
) -> Iterator[Picture]:
    """The clean picture and each corrupted one, in the network's pixels: there the answer is drawn. Of a picture that
    is cut the fullest tile is shown; the mark is of all of it."""
    maker = CorruptedMaker(samples, model.prepare, seed, at, model.tiling)
    made = maker(CorruptedPlan(row, tuple(Corruption(name, severity) for name in suite.names)))
    clean = list(model.prepare.placed_parts(samples[row].query, model.tiling))
    placed = [*clean, *made.placed]
    seen = placed[_fullest(clean, samples.index.annotations(row).box_xyxy) :: len(clean)]
    predictor = model.predictor()
    answers = predictor.stream_placed(iter(placed))  # where the truth is
    shown = predictor.stream_placed(map(_as_source, seen))  # where the picture is drawn
    for name, one, answer, drawn in zip(("clean", *suite.names), seen, answers, shown, strict=True):
        image = samples.task.draw(_first(one), drawn, samples.index.classes)
        path = run.picture(f"corrupted-{number}-{name}", image)
        yield Picture(path, words(name), _mark(samples, answer, made.sample))


def _fullest(parts: Sequence[Placed], box_N4: NDArray[np.float32]) -> int:
    """The number of the tile in which most objects have their middle."""
    middle_N2 = (box_N4[:, :2] + box_N4[:, 2:]) / 2
    edges = [(0, 0, 0, 0) if part.tile is None else part.tile.window.box_xyxy for part in parts]
    inside = [((middle_N2 >= edge[:2]) & (middle_N2 < edge[2:])).all(axis=1).sum() for edge in edges]
    return int(np.argmax(inside))


def _mark(samples: Samples, answer: Any, sample: Sample) -> str:
    found = samples.task.mistakes([answer], [sample], samples.index.classes)
    return "bad" if any(mistake.wrong for mistake in found) else "good"


def _as_source(placed: Placed) -> Placed:
    """As if the network's pixels were the picture's own, so that an answer can be drawn on them."""
    sizes = {name: (image.shape[0], image.shape[1]) for name, image in placed.images.items()}
    return Placed(placed.images, {name: Geometry.identity(size) for name, size in sizes.items()}, placed.boxes)


def _first(placed: Placed) -> NDArray[Any]:
    return next(iter(placed.images.values()))
