"""What is trained: a card, its resolved spec, its start weights and the classes; from labels alone or from a spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier.actions.begin import Begun
from espalier.actions.model_info import ModelInfo
from espalier.actions.models import lookup
from espalier.backbones.start import Start
from espalier.bundle.manifest import Decode, Licence
from espalier.data.class_pixels import class_pixels
from espalier.data.index import UNKNOWN, Index
from espalier.data.samples import Samples
from espalier.data.tiles import TileSamples, cut_index, tile_samples
from espalier.errors import DataError, Problem, SpecError
from espalier.networks import card as cards
from espalier.networks.card import Network
from espalier.networks.input import tiling
from espalier.runs.run import Run
from espalier.runtime.backend import Backend
from espalier.runtime.predictor import Predictor
from espalier.runtime.tiles import Tiles
from espalier.spec.facts import Facts, Hardware, TileFacts
from espalier.spec.load import updated
from espalier.spec.resolve import Decision, resolve
from espalier.spec.sections import Spec
from espalier.spec.training import TrainSpec
from espalier.tasks.base import Balanced, Decoder, Scores, Task, Tiled
from espalier.vision.image import probe as probe_picture
from espalier.vision.image import read_image
from espalier.vision.prepare import Prepare
from espalier.vision.tiling import Tiling

if TYPE_CHECKING:
    from espalier.layers.model import TrainableModel

LOOKED_AT = 32  # pictures whose size, depth and bands are looked at
DEEP_LOOKED_AT = 8  # pictures of more than 8 bits whose values are looked at
BRIGHTEST = 0.1  # per cent of a picture's values that may lie above the range: single hot pixels don't set it


@dataclass(frozen=True)
class Recipe:
    """Everything that is needed to build the network, to ask it, and to describe it in a checkpoint."""

    card: Network
    spec: Spec
    start: Start
    task: Task
    classes: tuple[str, ...]
    prepare: Prepare
    decoder: Decoder
    decode: Decode
    tiles: Tiles | None = None  # how large pictures are cut
    inherited: tuple[Licence, ...] = ()  # of the model that it starts from

    def build(self) -> TrainableModel:
        """A model with the start weights; what has none is drawn by the spec's seed."""
        import torch

        assert self.spec.network is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.spec.seed)
            model: TrainableModel = cards.build(self.card, self.spec.network, self.classes)
        self.start.load(model)
        return model

    def samples(self, index: Index) -> Samples:
        """The pictures as they are scored: whole, whatever the network sees of them at once."""
        return Samples(index, self.task, self.prepare.inputs[0].channels, self.spec.data.max_pixels)

    def learnt(self, index: Index) -> Samples | TileSamples:
        """The pictures as the network learns from them, or their tiles."""
        samples = self.samples(index)
        if self.tiles is None:
            return samples
        train = self.spec.train
        return tile_samples(
            samples, self.tiles.tiling, least=train.augment.min_visible, background=train.tile_background
        )

    def predictor(self, backend: Backend, *, batch_size: int = 16) -> Predictor:
        """prepare → backend → decode."""
        return Predictor(
            self.prepare,
            backend,
            self.decoder,
            self.classes,
            self.decode.params,
            batch_size=batch_size,
            tiles=self.tiles,
        )

    @property
    def licences(self) -> tuple[Licence, ...]:
        """Of the start weights, and of the model that it starts from."""
        return tuple(dict.fromkeys((*licences_of(self.start), *self.inherited)))

    def info(self, index: Index, run: Run, *, trained_on_all: bool = False) -> ModelInfo:
        """What a checkpoint says of the model beside its weights."""
        info = ModelInfo.of(
            self.card,
            self.spec,
            self.classes,
            licences=self.licences,
            data_fingerprint=index.fingerprint(),
            run=run.path.name,
        )
        return info.model_copy(update={"trained_on_all": trained_on_all, "decode": self.decode})

    def suited(self, scores: Scores, words: str, run: Run) -> Recipe:
        """The recipe with the decode parameters that suit the scored pictures best; `words` say which these were."""
        if not scores.suggested:
            return self
        run.decisions(
            [
                Decision(f"decode.{key}", "auto", round(figure.value, 4), f"{figure.note}, on {words}")
                for key, figure in scores.suggested.items()
            ]
        )
        values = {key: round(figure.value, 4) for key, figure in scores.suggested.items()}
        reasons = {key: f"{figure.note}, on {words}" for key, figure in scores.suggested.items()}
        decode = self.decode.model_copy(update={"params": {**self.decode.params, **values}, "reasons": reasons})
        return replace(self, decode=decode)

    def with_train(self, **values: Any) -> Recipe:
        """The recipe with other values in the spec's `train` section."""
        return replace(self, spec=updated(self.spec, {"train": values}, lookup=lookup))


def licences_of(start: Start) -> tuple[Licence, ...]:
    """As a checkpoint records them."""
    found = start.licence
    if found is None:
        return ()
    return (Licence(**{key: found[key] for key in ("name", "licence", "url", "commercial")}),)


def make(begun: Begun, train: Index, *, n_val: int, run: Run) -> Recipe:
    """The recipe for these training pictures; every decision is told and kept.

    Raises SpecError, and DataError where none of them has a label.
    """
    from espalier.trainer.devices import hardware

    if not train.classes:
        fix = "label some; `espalier data check` tells what is found"
        raise DataError(Problem(train.source, "no picture to learn from has a label", fix=fix))
    _refuse_blending(begun.spec, begun.task)
    _refuse_tiles(begun.spec, begun.task)
    spec, decisions = resolve(begun.spec, facts_of(train, begun, hardware(), n_val=n_val))
    run.decisions(decisions)
    assert spec.network is not None
    rule = begun.card.decode(spec.network)
    cut = tiling(spec.network.input)
    recipe = Recipe(
        begun.card,
        spec,
        begun.start,
        begun.task,
        train.classes,
        begun.card.prepare(spec.network),
        begun.task.decoder(rule.name, rule.version),
        Decode(name=rule.name, version=rule.version, params=dict(rule.params)),
        Tiles(cut, begun.task) if cut is not None and isinstance(begun.task, Tiled) else None,
    )
    learnt = recipe.learnt(train)
    if isinstance(learnt, TileSamples):
        _tell_tiles(learnt, run)
    return recipe


def _tell_tiles(tiles: TileSamples, run: Run) -> None:
    """Of what an epoch is made, and which objects are in none of it."""
    run.say(tiles.words)
    if tiles.cut.never_shown:
        run.warn(
            f"{tiles.cut.never_shown} objects are so large that no tile shows {tiles.least:.0%} of them: they count as "
            "ignored regions and are not learnt; a larger network.input.tile_px would show them"
        )


def _refuse_tiles(spec: Spec, task: Task) -> None:
    """Raises SpecError for tiles where an answer is about the whole picture."""
    asked = spec.network.input.tile_px if spec.network else 0
    if isinstance(asked, int) and asked and not isinstance(task, Tiled):
        what = f"what is said of tiles can't be joined to an answer about the picture in {task.name}"
        raise SpecError(Problem("network.input.tile_px", what, fix="set it to 0"))


def _refuse_blending(spec: Spec, task: Task) -> None:
    """Raises SpecError for changes of pictures that labels with places can't follow."""
    given = spec.train.augment
    wishes = {"mixup": given.mixup, "cutmix": given.cutmix, "rotate_deg": given.rotate_deg}
    what = f"the labels of {task.name} have places in the picture and can't be"
    if not task.mixable:
        found = [
            Problem(
                f"train.augment.{name}", f"{what} {'rotated' if name == 'rotate_deg' else 'blended'}", fix="set it to 0"
            )
            for name, value in wishes.items()
            if value > 0
        ]
        if found:
            raise SpecError(*found)


def facts_of(train: Index, begun: Begun, machine: Hardware, *, n_val: int) -> Facts:
    """What `resolve` is told."""
    looked = [probe_picture(train.path(row)) for row in _spread(len(train))]
    sizes = train.size_hw[train.size_hw[:, 0] != UNKNOWN] if len(train) else train.size_hw
    median = np.median(sizes if len(sizes) else [info.size_hw for info in looked], axis=0)
    return Facts(
        hardware=machine,
        n_train=len(train),
        n_val=n_val,
        classes=train.classes,
        class_counts=tuple(int(count) for count in train.picture_counts()),
        class_pixels=_class_pixels(train, begun.task),
        median_size_hw=(int(median[0]), int(median[1])),
        bands=_most_common([info.bands for info in looked]),
        bits=_most_common([info.bits for info in looked]),
        used_bits=_used_bits(train, [info.bits for info in looked], begun.spec.data.max_pixels),
        data_format=train.format,
        backbone=begun.start.facts,
        pretrained=begun.start.file is not None or begun.spec.train.start_from is not None,
        multi_label=train.multi_label,
        most_labels=int(np.diff(train.offsets).max(initial=0)),
        median_object_px=_object_px(train, lambda wh_N2: np.sqrt(wh_N2.prod(axis=1)), 50),
        large_object_px=_object_px(train, lambda wh_N2: wh_N2.max(axis=1), 95),
        joins_tiles=isinstance(begun.task, Tiled),
        tiles=cache(lambda tile_px, overlap: tile_facts(train, Tiling(tile_px, overlap), begun.spec.train)),
    )


def _class_pixels(train: Index, task: Task) -> Callable[[], tuple[int, ...]] | None:
    """Counted when it is first asked, since labels are painted or decoded for it."""
    return cache(lambda: class_pixels(train, task, task)) if isinstance(task, Balanced) else None


def tile_facts(train: Index, tiling: Tiling, spec: TrainSpec) -> TileFacts:
    """What the training pictures come to as tiles."""
    cut = cut_index(train, tiling, least=spec.augment.min_visible)
    return TileFacts(cut.per_epoch(spec.tile_background), int(np.diff(cut.shown.offsets).max(initial=0)))


def _object_px(train: Index, size: Callable[[NDArray[Any]], NDArray[Any]], percent: float) -> float:
    """That percentile of the boxes' sizes, crowds aside; 0 without boxes."""
    box_N4 = train.box_xyxy[~train.is_crowd & ~np.isnan(train.box_xyxy).any(axis=1)]
    if not len(box_N4):
        return 0.0
    return float(np.percentile(size(np.clip(box_N4[:, 2:] - box_N4[:, :2], 0, None).astype(np.float64)), percent))


def _used_bits(train: Index, bits: Sequence[int], max_pixels: int) -> int:
    """Bits that hold the values of those of the looked-at pictures that have more than 8; 0 where none has."""
    deep = [row for row, has in zip(_spread(len(train)), bits, strict=True) if has > 8][:DEEP_LOOKED_AT]
    tops = [np.percentile(_colours(train.path(row), max_pixels), 100 - BRIGHTEST) for row in deep]
    return max(int(max(tops)).bit_length(), 1) if tops else 0


def _colours(path: str, max_pixels: int) -> NDArray[Any]:
    """The picture's values without its alpha, which is always as bright as can be."""
    image_HWC = read_image(path, channels="bands", max_pixels=max_pixels)
    return image_HWC[:, :, :-1] if image_HWC.shape[2] in (2, 4) else image_HWC


def _spread(count: int) -> Sequence[int]:
    return [int(row) for row in np.unique(np.linspace(0, max(count - 1, 0), min(LOOKED_AT, count)).round())]


def _most_common(values: Sequence[int]) -> int:
    found, counts = np.unique(np.asarray(values), return_counts=True)
    return int(found[counts.argmax()])
