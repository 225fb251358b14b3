"""All figures of any number of weightings of the pictures at once: what intervals, comparisons and the report take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from espalier.tasks import intervals
from espalier.tasks.detection.budget import BACKGROUND, Errors, Oracle, errors
from espalier.tasks.detection.collected import Columns
from espalier.tasks.detection.confidence import ALL, HALF, LEVELS, Confidence, best_level, mean_of_classes
from espalier.tasks.detection.matching import SIZES, Matches, Pairs, match, overlapping
from espalier.tasks.detection.precision import Rankings, Recalls, objects_of, precision_curve

KEYS = (
    "map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium",
    "ar_large", "f1", "precision", "recall",
)  # fmt: skip
PRECISIONS = KEYS[:3]
STRICT = 5  # the overlap of 0.75 in matching's list
RECALL_LIMITS = (1, 10, 100)


@dataclass(frozen=True)
class Noun:
    """What overlaps: the words for it in figures and reports."""

    one: str
    many: str
    score: str

    def words(self) -> dict[str, str]:
        """Each figure's name."""
        return {
            "map": self.score,
            "ap50": "AP at overlap 0.50",
            "ap75": "AP at overlap 0.75",
            "ap_small": "AP of small objects",
            "ap_medium": "AP of medium objects",
            "ap_large": "AP of large objects",
            "ar1": f"recall with 1 {self.one}",
            "ar10": f"recall with 10 {self.many}",
            "ar100": f"recall with 100 {self.many}",
            "ar_small": "recall of small objects",
            "ar_medium": "recall of medium objects",
            "ar_large": "recall of large objects",
            "f1": "mean F1",
            "precision": f"precision ({self.many} that are right)",
            "recall": "recall (objects that are found)",
        }


BOX = Noun("box", "boxes", "average precision (mAP)")


@dataclass(frozen=True)
class Drawn:
    """Everything under B weightings; NaN where there is no object."""

    figures: NDArray[np.float64]  # (F, B), in the order of KEYS
    ap: NDArray[np.float64]  # (C, B) mean over the overlaps
    ap50: NDArray[np.float64]  # (C, B)
    ar: NDArray[np.float64]  # (C, B) with 100 boxes
    said: NDArray[np.float64]  # (3, C, B) precision, recall and F1 at the model's own threshold
    f1: NDArray[np.float64]  # (L, B) mean over the classes at each level of confidence
    threshold: NDArray[np.float64]  # (B,) of the highest mean F1
    curve: NDArray[np.float64]  # (101, B) precision over recall at an overlap of 0.5, mean over the classes
    gains: NDArray[np.float64]  # (8, B) what mending each kind of error adds to AP at an overlap of 0.5


@dataclass(frozen=True)
class Kept:
    """The scored pictures, and what was matched and counted once for all weightings.

    `same_picture` are the pairs of any class that overlap by `BACKGROUND` or more, whatever overlap means.
    """

    columns: Columns
    same_picture: Pairs
    noun: Noun = BOX

    @staticmethod
    def by_boxes(columns: Columns) -> Kept:
        """Overlap is that of boxes."""
        return Kept(columns, overlapping(columns.found, columns.objects, least=BACKGROUND))

    @cached_property
    def matches(self) -> Matches:
        """By COCO's rules."""
        return match(self.columns, self.same_picture)

    @cached_property
    def errors(self) -> Errors:
        """What is wrong with each box and object."""
        return errors(self.columns, self.matches, self.same_picture)

    @cached_property
    def rankings(self) -> Rankings:
        """At every size and overlap."""
        return Rankings.of(self.columns, self.matches, range(len(SIZES)))

    @cached_property
    def headline(self) -> Rankings:
        """At all sizes together: what the headline figure needs."""
        return Rankings.of(self.columns, self.matches, (ALL,))

    @cached_property
    def confidence(self) -> Confidence:
        """At every level of confidence."""
        return Confidence.of(self.columns, self.matches)

    @cached_property
    def _recalls(self) -> dict[str, Recalls]:
        limits = {f"ar{most}": (ALL, most) for most in RECALL_LIMITS}
        sizes = {f"ar_{name}": (n, RECALL_LIMITS[-1]) for n, name in enumerate(SIZES) if n != ALL}
        return {
            key: Recalls.of(self.columns, self.matches, size=size, most=most)
            for key, (size, most) in (limits | sizes).items()
        }

    @cached_property
    def _oracle(self) -> Oracle:
        return Oracle.of(self.columns, self.matches, self.errors)

    @cached_property
    def _said(self) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
        """(C, N) each: right, said, and there to be found, at the model's own threshold."""
        found, shape = self.columns.found, (len(self.columns.classes), len(self.columns.pictures.names))
        right, counts = self.matches.of(ALL, HALF)

        def table(kept: NDArray[np.bool_]) -> sparse.csr_array:
            cells = (found.class_id[kept], found.picture[kept])
            return sparse.csr_array((np.ones(int(kept.sum())), cells), shape=shape)

        return (
            table(right & found.said),
            table(counts & found.said),
            objects_of(self.columns, self.matches.counted[:, ALL]),
        )

    def drawn(self, weights_NB: NDArray[np.float64]) -> Drawn:
        """Everything under each weighting."""
        ap_CATB = self.rankings.average_precision(weights_NB)
        recall = {key: one(weights_NB) for key, one in self._recalls.items()}
        figures = {
            "map": mean_of_classes(ap_CATB[:, ALL].mean(axis=1)),
            "ap50": mean_of_classes(ap_CATB[:, ALL, HALF]),
            "ap75": mean_of_classes(ap_CATB[:, ALL, STRICT]),
            **{f"ap_{name}": mean_of_classes(ap_CATB[:, n].mean(axis=1)) for n, name in enumerate(SIZES) if n != ALL},
            **{key: mean_of_classes(value) for key, value in recall.items()},
        }
        right, said, there = (table @ weights_NB for table in self._said)
        figures |= {
            "precision": _ratio(right.sum(axis=0), said.sum(axis=0)),
            "recall": _ratio(right.sum(axis=0), there.sum(axis=0)),
        }
        f1 = np.where(there > 1e-12, _ratio(2 * right, said + there), np.nan)
        figures["f1"] = mean_of_classes(f1)
        mean_f1 = self.confidence.mean_f1(weights_NB)
        oracle = self._oracle(weights_NB)
        return Drawn(
            figures=np.stack([figures[key] for key in KEYS]),
            ap=ap_CATB[:, ALL].mean(axis=1),
            ap50=ap_CATB[:, ALL, HALF],
            ar=recall["ar100"],
            said=np.stack([_ratio(right, said), _ratio(right, there), f1]),
            f1=mean_f1,
            threshold=np.array([best_level(one) for one in mean_f1.T]),
            curve=mean_of_classes(self.curves(weights_NB, HALF)),
            gains=oracle[1:] - oracle[0],
        )

    def curves(self, weights_NB: NDArray[np.float64], overlap: int) -> NDArray[np.float64]:
        """(C, 101, B) precision over recall at one overlap."""
        positives_CB = self.rankings.positives[ALL] @ weights_NB
        ranked = self.rankings.ranked
        each = [precision_curve(ranked[c, ALL, overlap], p, weights_NB) for c, p in enumerate(positives_CB)]
        return np.stack(each)

    def figures(self, weights_NB: NDArray[np.float64]) -> NDArray[np.float64]:
        """(F, B) the figures of `KEYS`."""
        return self.drawn(weights_NB).figures

    def mean_average_precision(self, weights_NB: NDArray[np.float64]) -> NDArray[np.float64]:
        """(1, B) the headline figure alone, which is far quicker."""
        return self.precisions(weights_NB)[:1]

    def precisions(self, weights_NB: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3, B) the figures of `PRECISIONS` alone."""
        return np.stack([mean_of_classes(ap_CB) for ap_CB in self.class_precisions(weights_NB)])

    def class_precisions(self, weights_NB: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3, C, B) the same of each class; NaN where there is no object."""
        ap_CTB = self.headline.average_precision(weights_NB)[:, 0]
        return np.stack([ap_CTB.mean(axis=1), ap_CTB[:, HALF], ap_CTB[:, STRICT]])

    @property
    def width(self) -> int:
        """How many numbers a resample holds while it is worked on."""
        return self.rankings.width + 6 * len(LEVELS)

    def resampled(self, *, n: int, seed: int) -> Drawn:
        """Everything under `n` resamples of the pictures or their groups."""
        parts = [self.drawn(weights_NB) for weights_NB in self.weights(n=n, seed=seed, width=self.width)]
        return Drawn(
            *(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in Drawn.__dataclass_fields__)
        )

    def weights(self, *, n: int, seed: int, width: int) -> Iterator[NDArray[np.float64]]:
        """The resamples' weights of the pictures, (N, b) each."""
        pictures = self.columns.pictures
        for weights_BU in intervals.weights(pictures.unit_count, n=n, seed=seed, width=width):
            yield np.ascontiguousarray((weights_BU[:, pictures.unit_N] * pictures.weight_N).T)

    def now(self) -> Drawn:
        """Everything as it was scored; B is 1."""
        return self.drawn(self.columns.pictures.weight_N[:, None])


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 1e-12)
