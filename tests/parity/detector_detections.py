"""The detections of a file against the product's decoder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from espalier.tasks.detection.decoders.detr_sigmoid_v1 import DECODER
from espalier.vision.geometry import Geometry
from parity.detector_document import DetectorDocument
from parity.errors import CheckError
from parity.files import ParityFile
from parity.findings import Finding, differs, within

PREFIX = "postprocess/"
_MORE = 20  # places beyond the last that a detection of nearly the same score may come from


def check_detections(
    file: ParityFile, document: DetectorDocument, logits_BQC: Tensor, box_BQ4: Tensor
) -> Iterator[Finding]:
    """Scores, classes and boxes, best first; detections whose scores are near-equal may change places."""
    assert document.postprocess is not None
    sizes = document.postprocess.target_sizes_hw
    asked = {f"{PREFIX}{n}/{part}" for n in range(len(sizes)) for part in ("scores", "labels", "boxes")}
    given = {key for key in document.outputs if key.startswith(PREFIX)}
    if asked != given or len(sizes) != len(logits_BQC):
        raise CheckError(f"{min(asked ^ given, default=PREFIX)} is asked or given alone")
    outputs = {"logits": logits_BQC.numpy(), "boxes": box_BQ4.numpy()}
    classes = [f"class {n}" for n in range(logits_BQC.shape[2])]
    top = file.arrays[f"{PREFIX}0/scores"].shape[0]
    found = DECODER(outputs, [Geometry.identity(hw) for hw in sizes], classes, {"top": top + _MORE, "clip": False})
    for n, picture in enumerate(found):
        ours = (picture.score, picture.class_id, picture.box_xyxy)
        yield from _picture(file, document, n, *ours)


def _picture(
    file: ParityFile,
    document: DetectorDocument,
    number: int,
    score_N: NDArray[np.float64],
    class_N: NDArray[np.int64],
    box_N4: NDArray[np.float64],
) -> Iterator[Finding]:
    where = f"{PREFIX}{number}"
    stored_score, label, box = (file.arrays[f"{where}/{part}"] for part in ("scores", "labels", "boxes"))
    limits = {part: _limit(document, f"{where}/{part}") for part in ("scores", "boxes")}
    yield within(f"{where}/scores", score_N[: len(stored_score)], stored_score, limits["scores"])
    place = np.full(len(label), -1)
    for row in range(len(label)):
        off = np.abs(box_N4 - box[row]).max(1, initial=0)
        near = (np.abs(score_N - stored_score[row]) <= limits["scores"]) & (class_N == label[row])
        near &= ~np.isin(np.arange(len(score_N)), place[:row])
        if not near.any():
            yield differs(f"{where}/labels", f"place {row} is of class {label[row]}: ours has no such detection there")
            return
        place[row] = int(np.argmin(np.where(near, off, np.inf)))
    yield within(f"{where}/boxes", box_N4[place], box, limits["boxes"])


def _limit(document: DetectorDocument, key: str) -> float:
    absmax = document.outputs[key].absmax
    if absmax is None:
        raise CheckError(f"outputs.{key}.absmax is missing")
    return document.tolerance.relative * max(1e-3, absmax)
