"""Everything that the file of a detector asks: names, outputs, chosen tokens, detections, training, float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from espalier.layers.deformable_transformer import best_tokens, proposals
from espalier.layers.detr import Encoded
from parity import rules
from parity.compare import compare_output, compare_values
from parity.detector import Detector, DetectorFamily, answers_of
from parity.detector_detections import PREFIX as DETECTIONS
from parity.detector_detections import check_detections
from parity.detector_document import DetectorDocument, detector_document
from parity.detector_names import check_names
from parity.detector_training import PREFIX as DENOISING
from parity.detector_training import check_training
from parity.documents import Output
from parity.errors import CheckError
from parity.files import Array, ParityFile
from parity.findings import Finding, within
from parity.network_check import fill_check
from parity.subject import FEATURE, captured

INDICES, SCORES = "topk/indices", "topk/scores"
_SPECIAL = (DETECTIONS, DENOISING, INDICES, SCORES)


@dataclass(frozen=True)
class DetectorChecker:
    """Checks the files of one detector."""

    of: DetectorFamily

    def claims(self, file: ParityFile) -> bool:
        """By the constructor's function."""
        return file.constructor.get("function") == self.of.function

    def check(self, file: ParityFile) -> Iterator[Finding]:
        """Every comparison that the file asks."""
        document = detector_document(file)
        _all_arrays_are_asked(file, document)
        detector = Detector(self.of, document)
        names = list(check_names(detector, document.state_dict))
        yield from names
        if not all(finding.ok for finding in names):
            return  # with other names nothing can be filled
        filled = rules.fill_all(document.state_dict)
        yield from fill_check(document.fill_check, filled)
        detector.load(filled)
        detector.module.eval()
        count = sum(parameter.numel() for parameter in detector.module.parameters())
        yield within("parameters", count + _unused(detector, document), document.parameters, 0.5)
        yield from _single(file, detector)
        if document.training is not None:
            yield from check_training(file, detector, document.training, file.arrays.get(INDICES))
        if document.exact():
            yield from _double(file, detector)


def _unused(detector: Detector, document: DetectorDocument) -> int:
    """Numbers of official parameters that nothing of ours corresponds to: labels where there is no denoising."""
    known = {name for names in detector.official.values() for name in names}
    return sum(int(np.prod(e.shape)) for e in document.state_dict if e.kind == "param" and e.name not in known)


def _all_arrays_are_asked(file: ParityFile, document: DetectorDocument) -> None:
    """An array that nobody compares would look as if it had been."""
    training = document.training
    grad = {training.grad.array} if training is not None and training.grad is not None else set()
    known = document.outputs.keys() | set(document.exact().values()) | grad
    if training is not None:
        known |= {f"targets/{n}/{part}" for n in range(document.input.shape[0]) for part in ("labels", "boxes")}
    unknown = file.arrays.keys() - known
    if unknown:
        raise CheckError(f"array {min(unknown)} is none that this family's check knows")
    for prefix, asked in ((DETECTIONS, document.postprocess), (DENOISING, training)):
        if asked is None and any(key.startswith(prefix) for key in document.outputs):
            raise CheckError(f"there are outputs {prefix}…, and the document doesn't say of what")


def _single(file: ParityFile, detector: Detector) -> Iterator[Finding]:
    """Float32: every output and feature, the chosen tokens, and the detections."""
    document = detector.document
    plain = {key: output for key, output in document.outputs.items() if not key.startswith(_SPECIAL)}
    ours, scores_BN = _run(file, detector, plain)
    for key, described in plain.items():
        yield compare_output(key, _array(key, ours), described, file.arrays[key], document.tolerance.relative)
    if INDICES in document.outputs or SCORES in document.outputs:
        if scores_BN is None:
            raise CheckError("topk: ours chooses no tokens")
        yield from _tokens(file, document, scores_BN)
    if document.postprocess is not None:
        yield from check_detections(file, document, ours["pred_logits"], ours["pred_boxes"])


def _double(file: ParityFile, detector: Detector) -> Iterator[Finding]:
    """Float64: finds a wrong epsilon, which the noise of float32 hides."""
    document = detector.document
    limit = document.tolerance.relative_float64
    assert limit is not None  # known_rule asks it where arrays are exact
    detector.module.double()
    exact = document.exact()
    ours, _ = _run(file, detector, {key: document.outputs[key] for key in exact})
    for key, array in exact.items():
        yield compare_values(array, _array(key, ours), document.outputs[key], file.arrays[array], limit)


def _run(
    file: ParityFile, detector: Detector, asked: Mapping[str, Output]
) -> tuple[Mapping[str, Tensor], Tensor | None]:
    """Outputs and features by the file's keys, with the stored tokens chosen; and the scores of all tokens."""
    features = {key: output for key, output in asked.items() if key.startswith(FEATURE)}
    indices = file.arrays.get(INDICES)
    with torch.no_grad(), detector.chosen(indices) as scores, captured(detector, features) as seen:
        encoded = detector.module.encode(detector.image(), detector.valid_hw())
        said, first = answers_of(detector.module, encoded)
    ours = {f"aux/{n}/": each for n, each in enumerate(said[:-1])} | {"": said[-1]}
    if first is not None:
        ours[detector.of.first] = first
    named = {f"{prefix}pred_logits": each.logits_BQC for prefix, each in ours.items()}
    named |= {f"{prefix}pred_boxes": each.box_BQ4 for prefix, each in ours.items()}
    if indices is not None:
        named["interm/anchor_boxes"] = _anchors(encoded, indices)
    return {**named, **seen}, scores[0] if scores else None


def _anchors(encoded: Encoded, token_BQ: Array) -> Tensor:
    """(B, Q, 4): the boxes that the chosen tokens start from."""
    start, _ = proposals(encoded.tokens, encoded.memory_BNC)
    return start.gather(1, torch.from_numpy(token_BQ).long()[..., None].expand(-1, -1, 4)).sigmoid()


def _tokens(file: ParityFile, document: DetectorDocument, score_BN: Tensor) -> Iterator[Finding]:
    """The tokens that ours chooses: the stored ones in their order, but for near-equal scores, which may change places.

    Padded tokens and those at the edges are zeroed and tie exactly.
    """
    if not {INDICES, SCORES} <= document.outputs.keys():
        raise CheckError(f"{INDICES} and {SCORES} come together")
    stored, token_BQ = file.arrays[SCORES], torch.from_numpy(file.arrays[INDICES]).long()
    described = document.outputs[SCORES]
    if tuple(token_BQ.shape) != described.shape or stored.shape != described.shape:
        raise CheckError(f"{INDICES} or {SCORES} is not {described.shape}")
    if bool((token_BQ.sort(-1).values.diff(dim=-1) == 0).any()):
        raise CheckError(f"{INDICES} names a token twice")
    limit = document.tolerance.relative * max(1e-3, described.absmax or 0.0)
    own_BQ = best_tokens(score_BN, token_BQ.shape[1])
    yield within(SCORES, score_BN.gather(1, token_BQ).numpy(), stored, limit)
    yield within(INDICES, score_BN.gather(1, own_BQ).numpy(), stored, limit)


def _array(key: str, ours: Mapping[str, Tensor]) -> Array:
    if key not in ours:
        raise CheckError(f"outputs.{key} is none that this family's check knows")
    return np.asarray(ours[key].numpy())
