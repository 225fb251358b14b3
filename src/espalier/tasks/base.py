"""What a task is: the words that samples, queries, predictions, decoders and metrics of every network family share."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from espalier.blocks import Block, Figure
from espalier.errors import InputError, ModelError, Problem, UsageError
from espalier.vision.geometry import Geometry
from espalier.vision.mask_file import MaskFile
from espalier.vision.tiling import Window


@dataclass(frozen=True)
class ImageQuery:
    """The plain question: what is in this picture? `image_HWC` is uint8 or uint16, upright (EXIF applied)."""

    image_HWC: NDArray[Any]
    name: str = ""


Query = ImageQuery
"""What one asks a model about. Tasks with other questions (a pair, a picture and boxes) bring their own class."""


@dataclass(frozen=True)
class Annotations:
    """The labels of one picture, n rows, as the data's Index holds them (source pixels; NaN boxes for mere labels)."""

    class_id: NDArray[np.int64]  # (n,)
    box_xyxy: NDArray[np.float32]  # (n, 4)
    is_crowd: NDArray[np.bool_]  # (n,)
    segments: Sequence[Any] = ()  # n items: polygons, RLE or None
    ignored_xyxy: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    """(k, 4) regions of no class: what lies there was not labelled and counts neither for nor against a model."""
    area: NDArray[np.float64] | None = None
    """(n,) px² as the labels give it, NaN where they don't; None where they give none."""
    unlabelled: tuple[int, ...] = ()
    """Classes that the picture was not labelled for: wherever they are, they are neither right nor wrong."""
    mask: MaskFile | None = None
    """The class of every pixel, where a file says it; then `class_id` are the classes that it shows."""


@dataclass(frozen=True)
class Sample:
    """A query and its truth. `target` is the task's own frozen dataclass, in source pixels and class ids 0…C-1."""

    query: Any
    target: Any
    name: str = ""
    group: str = ""


@runtime_checkable
class Decoder(Protocol):
    """Raw outputs → predictions. A closed, versioned vocabulary, so that a bundle runs without what made it."""

    name: str
    version: int

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],  # batch first
        geometries: Sequence[Geometry],  # one an item
        classes: Sequence[str],
        params: Mapping[str, Any],
    ) -> list[Any]: ...


class Metrics(Protocol):
    """Collects predictions and truths, then gives figures. Keeps what it needs for intervals, never pictures."""

    def update(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> None: ...

    def compute(self, *, bootstrap: int = 0, seed: int = 0) -> Scores: ...


@dataclass(frozen=True)
class Scores:
    """The result of an evaluation. `figures[main]` is the headline; `per_item` feeds paired comparisons."""

    main: str  # key of the headline figure
    higher_is_better: bool
    figures: Mapping[str, Figure]
    n: int  # pictures
    blocks: Sequence[Block] = ()  # tables, matrices, curves for the report
    per_item: Mapping[str, Any] = field(default_factory=dict)  # what the metric resamples, one row a picture
    names: Sequence[str] = ()  # the pictures, in the order of per_item
    errors: frozenset[str] = frozenset()  # keys of the figures of which less is better
    suggested: Mapping[str, Figure] = field(default_factory=dict)  # decode parameters that suit these pictures best
    spoken: Sequence[str] = ()  # keys of the figures that are worth a line beside the headline; without any, all are
    cautions: Sequence[str] = ()  # what keeps the figures of these pictures low, however good the model is

    @property
    def value(self) -> float:
        """The headline figure's value."""
        return self.figures[self.main].value

    def rises(self, key: str) -> bool:
        """Is more of this figure better?"""
        return self.higher_is_better if key == self.main else key not in self.errors


@dataclass(frozen=True)
class Mistake:
    """A picture worth showing: `rank` sorts within its `kind` ('worst', 'most confident'), larger first.

    `index` is the picture's place among the predictions that were looked at; `wrong` is False where the answer is
    right, and the picture is shown for another reason.
    """

    index: int
    kind: str
    rank: float
    caption: str
    wrong: bool = True


@dataclass(frozen=True)
class Comparison:
    """Model B against model A on the same pictures, paired. `verdict`: better, worse or can't tell."""

    figure: Figure  # B - A of the headline figure, with its 95 % interval
    verdict: str
    changed: Sequence[Mistake] = ()  # pictures that changed sides; `index` counts in A's `names`
    n: int = 0  # pictures both were scored on
    others: Sequence[Figure] = ()  # B - A of the other figures


@dataclass(frozen=True)
class Answer:
    """What a model said of one picture: raw outputs (a batch of one), what they mean, and the picture's geometry."""

    outputs: Mapping[str, NDArray[Any]]
    prediction: Any
    geometry: Geometry


@dataclass(frozen=True)
class ExplainTarget:
    """The part of an answer that a map explains: a class, a box, a pixel's class.

    `asked` is the word that asked for it, `same` the one that asks for the same part of another answer ('' where that
    is `asked`), `words` says it to people. `scores` takes the raw
    outputs and the predictions of B changed pictures and gives (B,) how strongly each still says it, 0 to 1.
    `activation` takes raw outputs, numpy's or torch's alike, and gives (B,) what gradients are taken of: the score
    before it is squashed, so that a sure answer has a gradient too.
    """

    asked: str
    words: str
    scores: Callable[[Mapping[str, NDArray[Any]], Sequence[Any]], NDArray[np.float64]]
    activation: Callable[[Mapping[str, Any]], Any]
    same: str = ""


class Task(Protocol):
    """A family of networks: how labels become samples and targets, and predictions become scores and pictures."""

    name: str
    mixable: tuple[str, ...]  # target arrays that mixup and cutmix may blend linearly
    ragged: tuple[str, ...]  # target arrays that stay a list in a batch
    background: bool  # does a picture without a label say that nothing is there, so that it is learnt from and scored?

    def fits(self, kinds: frozenset[str]) -> int:
        """How well labels of these kinds ('label', 'box', 'polygon', 'rle', 'mask', …) suit the task; 0 not at all."""

    def sample(self, query: Any, annotations: Annotations, classes: Sequence[str], *, name: str, group: str) -> Sample:
        """The labels as this task's sample."""

    def targets(self, sample: Sample, geometry: Geometry, classes: Sequence[str]) -> dict[str, NDArray[Any]]:
        """What the loss needs, in the network's input pixels; arrays without a batch axis."""

    def decoders(self) -> list[tuple[str, int]]:
        """(name, version) of every decoder there is."""

    def decoder(self, name: str, version: int) -> Decoder:
        """The decoder of that name and version; raises ModelError that names what there is."""

    def metrics(self, classes: Sequence[str]) -> Metrics:
        """A fresh collector."""

    def compare(self, a: Scores, b: Scores, *, bootstrap: int, seed: int) -> Comparison:
        """B against A, paired over the pictures of both."""

    def resample(self, scores: Scores, *, n: int, seed: int) -> NDArray[np.float64]:
        """(n,) the headline figure of `n` resamples; `seed` pairs scores of the same pictures in the same order."""

    def mistakes(self, predictions: Sequence[Any], samples: Sequence[Sample], classes: Sequence[str]) -> list[Mistake]:
        """Pictures to look at."""

    def explain_targets(self, answer: Answer, asked: Sequence[str], classes: Sequence[str]) -> list[ExplainTarget]:
        """One for each word of `asked`; without words the answer's own, one at least.

        Raises UsageError for a word that fits none, and where the answer holds nothing to explain.
        """

    def draw(
        self, image_HWC: NDArray[Any], prediction: Any, classes: Sequence[str], *, truth: Any = None
    ) -> NDArray[np.uint8]:
        """The picture with the prediction drawn on it, RGB uint8; with the target `truth` also what it misses."""

    def words(self, prediction: Any, classes: Sequence[str]) -> str:
        """The prediction in a few words, for one line on the screen."""

    def rows(self, prediction: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
        """The prediction as flat records for CSV: one for what is said of the whole picture, or one for each object."""

    def to_json(self, prediction: Any, classes: Sequence[str]) -> dict[str, Any]:
        """The prediction in full, as JSON data."""


@runtime_checkable
class Located(Protocol):
    """A task whose labels have places in the picture: crops cut them, and several pictures can make one."""

    def cut(self, sample: Sample, geometry: Geometry, *, min_visible: float) -> Sample:
        """The sample for a picture of which the input shows a part: an object that is mostly outside is neither right
        nor wrong there. `min_visible` is the share of its box that must be inside."""

    def merged(self, targets: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """The `targets` of pictures that lie side by side in one input, each by its own geometry, as one picture's."""


@runtime_checkable
class Balanced(Protocol):
    """A task of which one can tell how the classes share what a part of a picture shows."""

    def largest_share(self, sample: Sample, geometry: Geometry) -> float:
        """The commonest class's share of what is labelled in the input; NaN where nothing is."""

    def pixels(self, sample: Sample, size_hw: tuple[int, int]) -> NDArray[np.int64]:
        """(C,) how many pixels of a source of that size are labelled as each class."""


@runtime_checkable
class Covering(Protocol):
    """A task that says something of every pixel, and so may need a class that the labels don't name."""

    def classes_for(self, classes: Sequence[str], kinds: frozenset[str]) -> tuple[str, ...]:
        """The classes to learn from labels of these classes and kinds."""


@runtime_checkable
class Tiled(Protocol):
    """A task of which tiles of a picture can be learnt and asked, and the answers joined. It asks an ImageQuery."""

    def inside(self, sample: Sample, window: Window) -> Sample:
        """The sample with its labels cut off at the edges of a part of the picture, still in the picture's pixels."""

    def joined(
        self,
        predictions: Sequence[Any],
        windows: Sequence[Window],
        size_hw: tuple[int, int],
        params: Mapping[str, Any],
    ) -> Any:
        """The prediction of a picture of `size_hw` by those of its tiles, each in the pixels of its own window.

        `params` are the decoder's. Of one tile it is that tile's prediction.
        """


def names() -> list[str]:
    """The tasks there are, found by their folders."""
    import espalier.tasks as room

    return sorted(m.name for m in pkgutil.iter_modules(room.__path__) if m.ispkg)


def get(name: str) -> Task:
    """The task of that name; raises InputError that names the others."""
    if name not in names():
        raise InputError(f"there is no task '{name}'; the tasks are: {', '.join(names())}")
    task: Task = importlib.import_module(f"espalier.tasks.{name}").TASK
    return task


def decoder_names(room: ModuleType) -> list[tuple[str, int]]:
    """(name, version) of the decoders in a task's `decoders` package, found by their files `NAME_vVERSION.py`."""
    found = (re.fullmatch(r"(.+)_v(\d+)", module.name) for module in pkgutil.iter_modules(room.__path__))
    return sorted((match[1], int(match[2])) for match in found if match)


def find_decoder(room: ModuleType, name: str, version: int) -> Decoder:
    """The `DECODER` of the file `NAME_vVERSION.py`; raises ModelError that names those there are."""
    there = decoder_names(room)
    if (name, version) not in there:
        known = ", ".join(f"{n} version {v}" for n, v in there)
        raise ModelError(
            Problem(
                "",
                f"there is no decoder '{name}' version {version}",
                f"this Espalier knows: {known}",
                "a newer Espalier may have made the model: update this one",
            )
        )
    decoder: Decoder = importlib.import_module(f"{room.__name__}.{name}_v{version}").DECODER
    return decoder


def class_asked(word: str, classes: Sequence[str], *, others: str = "") -> int:
    """The class that a word names: by its name, else by its id. Raises UsageError that names what fits.

    `others` says what else the task takes for a word.
    """
    if word in classes:
        return list(classes).index(word)
    if word.isascii() and word.isdigit() and int(word) < len(classes):
        return int(word)
    close = difflib.get_close_matches(word, classes, n=3)
    named = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
    expected = f"a class by name or by id, 0 to {len(classes) - 1}: {named}" + (f"; {others}" if others else "")
    fix = f"did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    raise UsageError(Problem("explain.targets", f"'{word}' is nothing that could be explained", expected, fix))


def ranked(kinds: Iterable[str]) -> list[str]:
    """The tasks that labels of these kinds suit, the best first."""
    found = frozenset(kinds)
    suits = {name: get(name).fits(found) for name in names()}
    return sorted((name for name in suits if suits[name] > 0), key=lambda name: -suits[name])
