"""The blocks of an explanation's page: figures with intervals, curves, how alike the sides are, the maps themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from espalier.actions.explained import Panel, Side, mean
from espalier.blocks import Block, Curve, Figure, Gallery, Headline, Picture, Series, Table, Text
from espalier.explainer.kinds import KINDS
from espalier.explainer.view import BLUR_SHARE
from espalier.spec.verbs import ExplainSpec
from espalier.tasks import intervals

RESAMPLES = 2000
FEWEST = 5  # pictures that an interval is given from
SHOWN = 60  # galleries on the page

Cells = list[str | float | int | Figure | None]


def blocks(found: Sequence[Panel], asked: ExplainSpec, *, seed: int) -> Iterator[tuple[str, Block]]:
    """(section, block) of everything that the page shows."""
    if not found:
        return
    groups = _by(found, lambda panel: (panel.side, panel.kind))
    yield "result", _headline(groups, asked, seed)
    yield "result", _table(groups)
    first = [panel for panel in found if panel.side == found[0].side]
    yield from (("result", curve) for curve in _curves(first))
    sides = list(dict.fromkeys(panel.side for panel in found))
    if len(sides) > 1:
        yield "result", _alike(found, sides, seed)
    yield "maps", _how_to_read(asked)
    for gallery in list(_galleries(found, sides))[:SHOWN]:
        yield "maps", gallery


def gains_json(found: Sequence[Panel], *, seed: int) -> dict[str, Any]:
    """Kind (with its side, where there are several) → by how much better than a random map, with its interval."""
    groups = _by(found, lambda panel: (panel.side, panel.kind))
    many = len({side for side, _ in groups}) > 1
    told = {}
    for (side, kind), group in groups.items():
        figure = _gain(kind, group, seed)
        key = f"{side.letter} {side.condition} {kind}" if many else kind
        told[key] = {"value": figure.value, "low": figure.low, "high": figure.high}
    return told


def _by(found: Sequence[Panel], key: Callable[[Panel], Any]) -> dict[Any, list[Panel]]:
    groups: dict[Any, list[Panel]] = {}
    for panel in found:
        groups.setdefault(key(panel), []).append(panel)
    return groups


def _gain(name: str, group: Sequence[Panel], seed: int) -> Figure:
    """Mean gain with its interval over the pictures."""
    return mean_figure(name, [panel.gain for panel in group], [panel.number for panel in group], seed=seed)


def mean_figure(name: str, values: Sequence[float], units: Sequence[int], *, seed: int) -> Figure:
    """The mean with its 95 % interval from resamples of the pictures; several values of one picture go together."""
    if len(set(units)) < FEWEST:
        return Figure(name, mean(values), note=f"no interval from fewer than {FEWEST} pictures")
    rows_N2 = np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1)
    low, high = intervals.bootstrap(
        rows_N2, lambda sums_B2: sums_B2[:, 0] / sums_B2[:, 1], n=RESAMPLES, seed=seed, groups=np.asarray(units)
    )
    return Figure(name, mean(values), low, high)


def _named(side: Side, kind: str, many: bool) -> str:
    title = KINDS[kind].title
    return f"{side.letter}, {side.condition}: {title}" if many else title


def _headline(groups: Mapping[Any, Sequence[Panel]], asked: ExplainSpec, seed: int) -> Headline:
    many = len({side for side, _ in groups}) > 1
    figures = [_gain(_named(side, kind, many), group, seed) for (side, kind), group in groups.items()]
    count = len({panel.number for group in groups.values() for panel in group})
    note = (
        f"Insertion minus deletion score, less the same of {asked.random_maps} random maps, over {count} pictures. "
        "A map whose interval reaches 0 says no more about the model than a random one."
    )
    return Headline("Can the maps be trusted? Better than a random map by", figures, note)


def _table(groups: Mapping[Any, Sequence[Panel]]) -> Table:
    many = len({side for side, _ in groups}) > 1
    rows: list[Cells] = []
    for (side, kind), group in groups.items():
        blind = [f for panel in group for f in panel.random]
        insertion = _beside([p.faith.insertion for p in group], [f.insertion for f in blind])
        deletion = _beside([p.faith.deletion for p in group], [f.deletion for f in blind])
        beats = f"{sum(p.beats_random for p in group)} of {len(group)}"
        seconds = round(mean(p.seconds for p in group), 2)
        rows.append([_named(side, kind, many), insertion, deletion, beats, seconds])
    columns = ["map", "insertion (random)", "deletion (random)", "better than every random map", "s/picture"]
    note = "Means over the pictures. Insertion: more is better. Deletion: less is better."
    return Table("Each kind of map", columns, rows, note)


def _beside(own: Sequence[float], random: Sequence[float]) -> str:
    return f"{mean(own):.3f} ({mean(random):.3f})"


def _curves(found: Sequence[Panel]) -> Iterator[Curve]:
    """What the model says while pixels are taken away and brought back, the mean over the pictures."""
    kinds = _by(found, lambda panel: panel.kind)
    steps = len(found[0].faith.deletion_S) - 1
    share = [100 * step / steps for step in range(steps + 1)]
    every = [f for panel in next(iter(kinds.values())) for f in panel.random]
    for word, title, label in (
        ("insertion_S", "Insertion: the higher the better", "% of the pixels back, most marked first"),
        ("deletion_S", "Deletion: the lower the better", "% of the pixels gone, most marked first"),
    ):
        series = [
            Series(KINDS[kind].title, share, _mean_curve([getattr(p.faith, word) for p in group]))
            for kind, group in kinds.items()
        ]
        series.append(Series("random map", share, _mean_curve([getattr(f, word) for f in every]), dashed=True))
        yield Curve(title, label, "score of what is explained", series)


def _mean_curve(curves: Sequence[NDArray[np.float64]]) -> list[float]:
    return [round(float(value), 5) for value in np.mean(curves, axis=0)]


def _alike(found: Sequence[Panel], sides: Sequence[Side], seed: int) -> Table:
    """How alike each side's maps are to those of the first side."""
    rows: list[Cells] = []
    for kind, group in _by(found, lambda panel: panel.kind).items():
        maps = {(panel.side, panel.number, panel.asked): panel for panel in group}
        row: Cells = [KINDS[kind].title]
        for side in sides[1:]:
            values, units = [], []
            for (own, number, asked), panel in maps.items():
                first = maps.get((sides[0], number, asked))
                likeness = None if own != side or first is None else alike(first.small_HW, panel.small_HW)
                if likeness is not None:
                    values.append(likeness)
                    units.append(number)
            row.append(mean_figure("rank correlation", values, units, seed=seed) if values else None)
        rows.append(row)
    columns = ["map", *(f"{side.letter}, {side.condition}" for side in sides[1:])]
    note = "Rank correlation of the maps of the same picture: 1 the same order of places, 0 no relation."
    return Table(f"How alike the maps are to those of {sides[0].letter}, {sides[0].condition}", columns, rows, note)


def alike(a_HW: NDArray[np.float32], b_HW: NDArray[np.float32]) -> float | None:
    """Spearman's rank correlation over the places that both saw; None where a map is all alike."""
    size_hw = (min(a_HW.shape[0], b_HW.shape[0]), min(a_HW.shape[1], b_HW.shape[1]))
    both = np.isfinite(a_HW[: size_hw[0], : size_hw[1]]) & np.isfinite(b_HW[: size_hw[0], : size_hw[1]])
    ranks = [rankdata(map_HW[: size_hw[0], : size_hw[1]][both]) for map_HW in (a_HW, b_HW)]
    if any(len(rank) < 2 or np.ptp(rank) == 0 for rank in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _how_to_read(asked: ExplainSpec) -> Text:
    return Text(
        "How to read the maps",
        "The picture is shown in grey. Colours from purple to yellow mark what a map holds important; the line runs "
        "around the tenth that is marked most; striped parts lie outside of what the network sees. The scale below a "
        "map has its own values: of RISE, by how much the score rises where the picture is seen.\n\n"
        "The deletion score replaces pixels by the picture's mean colour, the insertion score begins with a picture "
        f"blurred by {100 * BLUR_SHARE:.0f} % of its longer side; both go in {asked.steps} equal steps, the most "
        "marked pixels first, and are areas below the curve of what the model says. A map can be pretty and "
        "wrong: believe those that are clearly better than a random map.",
    )


def _galleries(found: Sequence[Panel], sides: Sequence[Side]) -> Iterator[Gallery]:
    """Of one side a gallery a picture, all kinds in it; of several a gallery a picture and kind, the sides in it."""
    for number, group in _by(found, lambda panel: panel.number).items():
        title, note = f"Picture {number + 1}", " · ".join(filter(None, (group[0].name, group[0].note)))
        if len(sides) == 1:
            shown = [_answers(group)[0], *(p for panel in group for p in _pictures(panel, sides))]
            yield Gallery(title, shown, note, large=True)
            continue
        yield Gallery(f"{title}: answers", _answers(group), note, large=True)
        for kind, own in _by(group, lambda panel: panel.kind).items():
            shown = [p for panel in own for p in _pictures(panel, sides)]
            yield Gallery(f"{title}: {KINDS[kind].title}", shown, large=True)


def _answers(group: Sequence[Panel]) -> list[Picture]:
    seen = {panel.side: panel for panel in reversed(group)}
    many = len(seen) > 1
    return [
        Picture(panel.answer, f"{side.letter}, {side.condition}\n{side.model}" if many else "the answer")
        for side, panel in sorted(seen.items(), key=lambda item: (item[0].corruption, item[0].letter))
    ]


def _pictures(panel: Panel, sides: Sequence[Side]) -> list[Picture]:
    if not panel.overlay:
        return []
    title = KINDS[panel.kind].title
    head = f"{panel.side.letter}, {panel.side.condition}" if len(sides) > 1 else title
    lines = [
        f"{head}: {panel.verdict}",
        f"{panel.words} {panel.score:.2f}" + (f", layer {panel.layer}" if panel.layer else ""),
        f"insertion {panel.faith.insertion:.2f} (random {mean(f.insertion for f in panel.random):.2f})",
        f"deletion {panel.faith.deletion:.2f} (random {mean(f.deletion for f in panel.random):.2f})",
    ]
    shown = [Picture(panel.overlay, "\n".join(lines))]
    if panel.colours:
        shown.append(Picture(panel.colours, f"{title} by likeness\nlayer {panel.layer}: like places have like colours"))
    return shown
