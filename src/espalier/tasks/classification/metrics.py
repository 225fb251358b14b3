"""Collects predictions and truths picture by picture; keeps numbers, never pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espalier.errors import DataError, Problem
from espalier.tasks.base import Sample, Scores
from espalier.tasks.classification import several, single
from espalier.tasks.classification.prediction import Classification
from espalier.tasks.collected import Pictures


class ClassificationMetrics:
    """Scores of one label, or of several when the predictions are `multi_label`.

    A picture without a label says nothing about a one-label model and is left out. Raises DataError for one with two.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.multi_label: bool | None = None
        self._rows: list[tuple[str, str]] = []
        self._truths: list[tuple[int, ...]] = []
        self._said: list[tuple[int, float, float, bool]] = []  # predicted, its score, the truth's score, truth in top 5
        self._marks: list[Classification] = []

    def update(self, predictions: Sequence[Classification], samples: Sequence[Sample]) -> None:
        """Adds predictions and their samples, in the same order."""
        for prediction, sample in zip(predictions, samples, strict=True):
            self._check(prediction)
            if not prediction.multi_label and not self._one_label(sample):
                continue
            self._rows.append((sample.name, sample.group))
            self._truths.append(sample.target.class_ids)
            if prediction.multi_label:
                self._marks.append(prediction)
            else:
                self._said.append(self._answer(prediction, sample.target.class_ids[0]))

    def compute(self, *, bootstrap: int = 0, seed: int = 0) -> Scores:
        """The figures; `bootstrap` resamples of the pictures give the intervals. Raises DataError without a picture."""
        if not self._rows:
            raise DataError(Problem("", "there is no labelled picture to score", fix="give labelled pictures"))
        names, groups = zip(*self._rows, strict=True)
        pictures = Pictures(names, groups)
        if self.multi_label:
            return several.scores(self._several(pictures), bootstrap=bootstrap, seed=seed)
        return single.scores(self._single(pictures), bootstrap=bootstrap, seed=seed)

    def _check(self, prediction: Classification) -> None:
        if len(prediction.score_C) != len(self.classes):
            raise ValueError(f"{len(prediction.score_C)} scores for {len(self.classes)} classes")
        if self.multi_label is None:
            self.multi_label = prediction.multi_label
        if self.multi_label != prediction.multi_label:
            raise ValueError("predictions of one label and of several labels can't be scored together")

    def _one_label(self, sample: Sample) -> bool:
        ids = sample.target.class_ids
        if len(ids) > 1:
            said = ", ".join(self.classes[i] for i in ids)
            raise DataError(
                Problem(
                    sample.name,
                    f"has {len(ids)} labels ({said})",
                    "this model gives each picture one",
                    "keep one label a picture, or train with several labels",
                )
            )
        return len(ids) == 1

    @staticmethod
    def _answer(prediction: Classification, truth: int) -> tuple[int, float, float, bool]:
        truth_score = float(prediction.score_C[truth])
        higher = int((prediction.score_C > truth_score).sum())
        return prediction.class_id, prediction.score, truth_score, higher < single.TOP

    def _single(self, pictures: Pictures) -> single.Single:
        predicted, confidence, truth_score, in_top = zip(*self._said, strict=True)
        return single.Single(
            pictures,
            self.classes,
            np.asarray([ids[0] for ids in self._truths], np.int64),
            np.asarray(predicted, np.int64),
            np.asarray(confidence, np.float64),
            np.asarray(truth_score, np.float64),
            np.asarray(in_top, np.bool_),
        )

    def _several(self, pictures: Pictures) -> several.Several:
        truth_NC = np.zeros((len(self._truths), len(self.classes)), np.bool_)
        said_NC = np.zeros_like(truth_NC)
        for i, (ids, prediction) in enumerate(zip(self._truths, self._marks, strict=True)):
            truth_NC[i, list(ids)] = True
            said_NC[i, list(prediction.class_ids)] = True
        score_NC = np.stack([prediction.score_C for prediction in self._marks])
        return several.Several(pictures, self.classes, truth_NC, said_NC, score_NC)
