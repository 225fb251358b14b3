"""Losses, matching, denoising and gradients of a detector, by the product's own `losses`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espalier.layers.matching import Match
from espalier.layers.model import Batch
from espalier.networks.detector import labelled
from espalier.networks.dino.denoising import Draws, Noised
from espalier.networks.dino.model import Dino
from espalier.networks.object_queries import ObjectQueries
from parity.compare import compare_output
from parity.detector import Call, Detector, Recorder
from parity.detector_document import Matching, Training, TrainingGrad
from parity.errors import CheckError
from parity.files import Array, ParityFile
from parity.findings import Finding, differs, holds, within
from parity.gradients import compare_norm

PREFIX = "dn/"
TERMS = {"loss_ce": "class", "loss_bbox": "l1", "loss_giou": "giou"}
LOGGED = re.compile(r"(class_error|cardinality_error|loss_xy|loss_hw)(_.*)?")
"""What the published codes write into their logs alone; a training that has weights for one is refused."""
_DRAWS = ("label_draw", "new_label", "sign", "part")
_FROZEN = re.compile(r"backbone\.0\.body\.(conv1|bn1|layer1)\..*")  # the published codes don't train these


def check_training(
    file: ParityFile, detector: Detector, training: Training, token_BQ: Array | None
) -> Iterator[Finding]:
    """Each loss term, the weighted total, the matching, the gradients; with the stored draws where there are some."""
    batch = detector.batch(file)
    draws = _draws(file, detector, batch)
    if draws is not None:
        yield from _denoising(file, detector, training, batch, draws)
    elif any("_dn" in name and value for name, value in training.losses.items()):
        raise CheckError(
            f"there are losses of denoising, and no {PREFIX}{_DRAWS[0]}, …: without the draws they are luck"
        )
    recorder = Recorder(detector.module.criterion)
    with detector.chosen(token_BQ), scored_by(detector.module, recorder, denoise=draws is not None):
        losses = losses_of(detector.module, batch, draws)
    calls = _named(detector, recorder.calls)
    relative = detector.document.tolerance.relative
    yield from _terms(training, calls, recorder, relative)
    total = float(losses["total"].detach())
    yield within("training total", total, training.total, relative * max(1e-3, abs(training.total)))
    yield from _matching(training.matching, calls)
    if training.grad is not None:
        yield from _gradients(file, detector, training.grad, losses["total"], training.tolerance_relative)


def losses_of(module: ObjectQueries, batch: Batch, draws: Draws | None) -> dict[str, Tensor]:
    """The product's losses; DINO's with these draws."""
    return module.losses(batch, draws) if isinstance(module, Dino) else module.losses(batch)


@contextmanager
def scored_by(module: ObjectQueries, recorder: Recorder, *, denoise: bool) -> Iterator[None]:
    """Within it the module's criterion is the recorder, and nothing is denoised unless asked."""
    parts: dict[str, Any] = {"criterion": recorder}
    if isinstance(module, Dino) and not denoise:
        parts["denoising"] = None
    before = {name: getattr(module, name) for name in parts}
    try:
        for name, part in parts.items():
            setattr(module, name, part)
        yield
    finally:
        for name, part in before.items():
            setattr(module, name, part)


def _named(detector: Detector, calls: Sequence[Call]) -> Mapping[str, Call]:
    """The scorings by the suffix of their terms: layers in order, the encoder's answer, noised queries' layers."""
    layers = detector.spec.decoder_layers
    suffixes = [*(f"_{n}" for n in range(layers - 1)), ""]
    named = dict(zip(suffixes, calls))
    rest = list(calls[layers:])
    if rest:
        named[f"_{detector.of.first.rstrip('/')}"] = rest.pop(0)
    named |= {f"_dn{suffix}": call for suffix, call in zip(suffixes, rest, strict=bool(rest))}
    return named


def _terms(training: Training, calls: Mapping[str, Call], recorder: Recorder, relative: float) -> Iterator[Finding]:
    weights = recorder.inner.weights
    weight_of = {"class": weights.class_, "l1": weights.l1, "giou": weights.giou}
    for name, weight in training.weights.items():
        yield within(f"weight {name}", weight_of[_term(name)[0]], weight, 1e-9)
    asked = {name for name in training.losses if not (LOGGED.fullmatch(name) and name not in training.weights)}
    for name in asked:
        term, suffix = _term(name)
        if suffix not in calls:
            yield differs(f"loss {name}", "ours has no such term")
            continue
        stored = training.losses[name]
        ours = float(calls[suffix].terms[term].detach())
        yield within(f"loss {name}", ours, stored, relative * max(1e-3, abs(stored)))
    missing = {f"{name}{suffix}" for suffix in calls for name in TERMS} - asked
    yield from (differs(f"loss {name}", "only ours has it") for name in sorted(missing))


def _term(name: str) -> tuple[str, str]:
    for known, term in TERMS.items():
        if name == known or name.startswith(f"{known}_"):
            return term, name.removeprefix(known)
    raise CheckError(f"training.losses.{name} is no loss that this family's check knows")


def _matching(stored: Mapping[str, Matching], calls: Mapping[str, Call]) -> Iterator[Finding]:
    for name, wanted in stored.items():
        suffix = "" if name == "final" else re.sub(r"^aux", "", name)
        suffix = f"_{suffix}" if suffix else ""
        if suffix not in calls:
            raise CheckError(f"training.matching.{name} is none that this family's check knows")
        yield same_matching(f"matching {name}", calls[suffix].matches, wanted)


def same_matching(what: str, ours: Sequence[Match], stored: Matching) -> Finding:
    """Equal, query by query."""
    told = [[match.query_N.tolist(), match.object_N.tolist()] for match in ours]
    if told == stored:
        return holds(what)
    return differs(what, f"{told} instead of {stored}"[:200])


def _draws(file: ParityFile, detector: Detector, batch: Batch) -> Draws | None:
    """The stored random numbers as the product takes them. Raises CheckError where they contradict each other."""
    given = {key.removeprefix(PREFIX) for key in file.arrays if key.startswith(PREFIX)}
    if not given:
        return None
    module = detector.module
    if not set(_DRAWS) <= given or not isinstance(module, Dino) or module.denoising is None:
        raise CheckError(f"{PREFIX}…: all of {', '.join(_DRAWS)} are needed, and a network that denoises")
    flip, new, sign, part = (torch.from_numpy(file.arrays[f"{PREFIX}{name}"]) for name in _DRAWS)
    flipped = flip < module.denoising.spec.label_noise / 2
    if int(flipped.sum()) != len(new):
        raise CheckError(f"{PREFIX}new_label has {len(new)} labels, and {int(flipped.sum())} are flipped")
    label = torch.zeros(len(flip), dtype=torch.int64)
    label[flipped] = new
    return Draws(flip, label, _shift(sign, part, sum(len(each.class_N) for each in labelled(batch))))


def _shift(sign: Tensor, part: Tensor, boxes: int) -> Tensor:
    """`part` is stored with its sign and the negatives' 1, or as the draw itself."""
    direction = sign.float() * 2 - 1
    negative = (torch.arange(len(part)) // max(boxes, 1) % 2)[:, None]
    draw = part.abs() - negative
    if bool((part * direction >= 0).all() and ((draw >= 0) & (draw <= 1)).all()):
        return part
    if bool(((part >= 0) & (part <= 1)).all()):
        return direction * (part + negative)
    raise CheckError(f"{PREFIX}part and {PREFIX}sign contradict each other")


def _denoising(
    file: ParityFile, detector: Detector, training: Training, batch: Batch, draws: Draws
) -> Iterator[Finding]:
    """The noised queries and who may see whom."""
    module = detector.module
    assert isinstance(module, Dino)
    assert module.denoising is not None
    with torch.no_grad():
        noised: Noised = module.denoising(labelled(batch), draws)
    yield from _counts(noised, training)
    given = {"query_label": noised.content_BQC, "query_bbox_unsigmoid": noised.box_logits_BQ4}
    blocked_QQ = noised.blocked(detector.spec.queries).numpy()
    for key, described in detector.document.outputs.items():
        name = key.removeprefix(PREFIX)
        if not key.startswith(PREFIX) or name in _DRAWS:
            continue
        if name == "attn_mask_packed":
            same = described.shape == blocked_QQ.shape and np.array_equal(np.packbits(blocked_QQ), file.arrays[key])
            yield holds(key) if same else differs(key, "a query may see another one than in the file")
        elif name in given:
            relative = detector.document.tolerance.relative
            yield compare_output(key, given[name].numpy(), described, file.arrays[key], relative)
        else:
            raise CheckError(f"outputs.{key} is none that this family's check knows")


def _counts(noised: Noised, training: Training) -> Iterator[Finding]:
    if training.pad_size is not None:
        yield within("denoising queries", noised.count, training.pad_size, 0.5)
    if training.num_dn_group is not None:
        yield within("denoising groups", noised.groups, training.num_dn_group, 0.5)


def _gradients(
    file: ParityFile, detector: Detector, grad: TrainingGrad, total: Tensor, relative: float
) -> Iterator[Finding]:
    norms = file.arrays.get(grad.array)
    if norms is None or norms.shape != (len(grad.names),):
        raise CheckError(f"{grad.array} doesn't hold a norm for each of training.grad.names")
    stored: dict[str, float | None] = dict(zip(grad.names, map(float, norms), strict=True))
    if stored.keys() & set(grad.zero_or_unused):
        raise CheckError("a parameter has a norm in training.grad, and none")
    stored |= dict.fromkeys(grad.zero_or_unused)
    parameters = dict(detector.module.named_parameters())
    got = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for own, gradient in zip(parameters, got, strict=True):
        listed = [name for name in detector.official[own] if name in stored]
        if not listed:
            if not _FROZEN.fullmatch(detector.official[own][0]):
                raise CheckError(f"training.grad doesn't speak of {detector.official[own][0]}")
            continue
        norm = 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
        for name in listed:
            yield compare_norm(name, norm, stored.pop(name), relative)
    unknown = [name for name, norm in stored.items() if norm is not None]
    if unknown:
        raise CheckError(f"training.grad.names: {unknown[0]} is no parameter of ours")
