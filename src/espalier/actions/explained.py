"""What `explain` makes of its maps: overlays, arrays, and a record of each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from espalier import storage
from espalier.actions.explain_pictures import Chosen
from espalier.actions.file_names import UNSAFE, file_name
from espalier.actions.models import OpenModel
from espalier.explainer.faith import Faith
from espalier.explainer.frames import enlarge, to_source
from espalier.explainer.kinds import KINDS, Heat
from espalier.explainer.overlay import fitted, overlay
from espalier.explainer.view import View
from espalier.runs.run import Run
from espalier.tasks.base import ExplainTarget

ALIKE_PX = 48  # maps are compared at this size: they are smooth


@dataclass(frozen=True)
class Side:
    """One way of looking at a picture: a model, and the picture as it is ('') or corrupted."""

    letter: str
    model: str
    corruption: str

    @property
    def condition(self) -> str:
        """In words."""
        return self.corruption or "clean"

    @property
    def suffix(self) -> str:
        """For the names of files."""
        return f"-{self.letter}" + (f"-{self.corruption.replace(':', '-')}" if self.corruption else "")


@dataclass(frozen=True)
class Sight:
    """One picture as one side sees it; `answer` is the path of the picture with the side's answer."""

    number: int
    picture: Chosen
    side: Side
    view: View
    answer: str


@dataclass(frozen=True)
class Measured:
    """The maps of one target, how long each took, and how far each, and maps that know nothing, can be trusted.

    `unmade`: in words, each kind of map that the target has none of.
    """

    heats: Sequence[Heat]
    seconds: Sequence[float]
    faiths: Sequence[Faith]
    random: Sequence[Faith]
    unmade: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """One map: of which picture, by whom, of what, how far it can be trusted, and where it is."""

    number: int
    name: str
    note: str
    side: Side
    answer: str
    kind: str
    layer: str
    asked: str
    words: str
    score: float
    faith: Faith
    random: tuple[Faith, ...]
    seconds: float
    overlay: str
    colours: str
    arrays: str
    small_HW: NDArray[np.float32]

    @property
    def gain(self) -> float:
        """Insertion minus deletion, less the same of a random map: more is better, 0 knows nothing."""
        return self.faith.both - mean(f.both for f in self.random)

    @property
    def beats_random(self) -> bool:
        """Is it better than every random map?"""
        return self.faith.both > max(f.both for f in self.random)

    @property
    def verdict(self) -> str:
        """In words."""
        worse = ", but not better than every random map" if self.gain > 0 else ": no better than random"
        return f"{self.gain:+.2f} against random" + ("" if self.beats_random else worse)

    @property
    def line(self) -> str:
        """For the console."""
        return (
            f"{self.name} ({self.side.letter}, {self.side.condition}): {self.words} {self.score:.2f}: "
            f"{KINDS[self.kind].title} {self.verdict}"
        )

    def to_json(self) -> dict[str, Any]:
        """Everything that can be written down."""
        return {
            "image": self.name, "note": self.note, "model": self.side.model, "letter": self.side.letter,
            "condition": self.side.condition, "target": self.asked, "score": round(self.score, 6),
            "kind": self.kind, "layer": self.layer,
            "insertion": round(self.faith.insertion, 6), "deletion": round(self.faith.deletion, 6),
            "random_insertion": round(mean(f.insertion for f in self.random), 6),
            "random_deletion": round(mean(f.deletion for f in self.random), 6),
            "better_than_random_by": round(self.gain, 6), "better_than_every_random_map": self.beats_random,
            "seconds": round(self.seconds, 3), "overlay": self.overlay, "arrays": self.arrays,
        }  # fmt: skip


def mean(values: Any) -> float:
    """Of a few numbers."""
    return float(np.mean(list(values)))


def empty(size_hw: tuple[int, int], bands: int) -> NDArray[np.uint8]:
    """A picture with nothing on it."""
    return np.full((*size_hw, bands), 127, np.uint8)


def answer_picture(run: Run, number: int, side: Side, model: OpenModel, view: View) -> str:
    """The picture with the model's answer, as the task draws it; its path in the run."""
    drawn = model.task.draw(view.picture(), view.answer.prediction, model.classes)
    return run.picture(f"{number:05d}{side.suffix}", drawn)


def file_names(words: Sequence[str]) -> list[str]:
    """Each word in letters that any file may have; of several each with its place, so that no two are the same."""
    safe = [UNSAFE.sub("_", word)[:80] for word in words]
    return safe if len(safe) == 1 else [f"{place}-{word}" for place, word in enumerate(safe)]


def panels(
    run: Run, sight: Sight, target: ExplainTarget, file: str, measured: Measured, formats: Sequence[str]
) -> list[Panel]:
    """A panel for each map of one target, after its files were written; `file` is the target in their names."""
    stem = f"{sight.number:05d}-{file_name(sight.picture.name)}{sight.side.suffix}-{file}"
    maps = [to_source(heat.map_HW, sight.view.geometry) for heat in measured.heats]
    arrays = _write_arrays(run, stem, measured.heats, maps) if maps and "arrays" in formats else ""
    made = []
    for heat, map_HW, found, seconds in zip(measured.heats, maps, measured.faiths, measured.seconds, strict=True):
        drawn, colours = _write_pictures(run, stem, sight.view, heat, map_HW) if "pictures" in formats else ("", "")
        made.append(
            Panel(
                number=sight.number, name=sight.picture.name, note=sight.picture.note, side=sight.side,
                answer=sight.answer, kind=heat.kind.name, layer=heat.layer, asked=target.asked, words=target.words,
                score=float(found.deletion_S[0]), faith=found, random=tuple(measured.random), seconds=seconds,
                overlay=drawn, colours=colours, arrays=arrays, small_HW=_small(map_HW),
            )
        )  # fmt: skip
    return made


def _write_pictures(run: Run, stem: str, view: View, heat: Heat, map_HW: NDArray[np.float32]) -> tuple[str, str]:
    """The map over the picture, and of a layer's own maps its places by their likeness."""
    drawn = overlay(view.picture(), map_HW, from_zero=heat.kind.from_zero)
    path = _write_png(run, f"{stem}-{heat.kind.name}", drawn)
    if heat.inside_CHW is None:
        return path, ""
    from espalier.explainer.features import principal

    bands = np.moveaxis(principal(heat.inside_CHW).astype(np.float32), 2, 0)
    height, width = view.size_hw
    placed = [enlarge(band_HW, view.geometry.input_hw)[:height, :width] for band_HW in bands]
    shown_HW3 = np.stack([to_source(band_HW, view.geometry) for band_HW in placed], axis=2)
    return path, _write_png(
        run, f"{stem}-{heat.kind.name}-colours", fitted(np.rint(np.nan_to_num(shown_HW3)).astype(np.uint8))
    )


def _small(map_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map at a size to compare; NaN stays NaN."""
    size_hw = (min(ALIKE_PX, map_HW.shape[0]), min(ALIKE_PX, map_HW.shape[1]))
    small_HW = enlarge(np.nan_to_num(map_HW), size_hw)
    small_HW[enlarge(np.isfinite(map_HW).astype(np.float32), size_hw) < 0.99] = np.nan
    return small_HW


def _write_arrays(run: Run, stem: str, heats: Sequence[Heat], maps: Sequence[NDArray[np.float32]]) -> str:
    """One .npz: each kind's map in the picture's pixels, and a layer's own maps as they are."""
    named = {heat.kind.name: map_HW for heat, map_HW in zip(heats, maps, strict=True)}
    named |= {f"{heat.kind.name}_layer": heat.inside_CHW for heat in heats if heat.inside_CHW is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)  # type: ignore[arg-type]  # names to arrays, which the stub reads otherwise
    return _write(run, "arrays", f"{stem}.npz", buffer.getvalue())


def _write_png(run: Run, name: str, image_HW3: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image_HW3).save(buffer, "PNG")
    return _write(run, "maps", f"{name}.png", buffer.getvalue())


def _write(run: Run, folder: str, name: str, content: bytes) -> str:
    storage.write_atomic(run.folder(folder) / name, content)
    return str(Path(folder) / name)
