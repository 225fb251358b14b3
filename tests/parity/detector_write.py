"""Writes a parity file from a detector of ours, to test this tool on settings that no published file is at hand of.

What it writes says nothing of the published network; it only has the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espalier.layers.deformable_transformer import best_tokens
from espalier.layers.model import Batch
from espalier.networks.dino.denoising import Draws
from espalier.networks.dino.model import Dino
from espalier.networks.object_queries import ObjectQueries
from parity import rules
from parity.detector import Detector, DetectorFamily, Recorder, answers_of
from parity.detector_document import DetectorDocument
from parity.detector_training import PREFIX as DENOISING
from parity.detector_training import losses_of, scored_by
from parity.documents import NETWORK_RULE, Entry
from parity.files import FLOAT64, Array
from parity.write import save

TARGETS = (([1, 0], [[0.3, 0.4, 0.2, 0.3], [0.6, 0.5, 0.3, 0.2]]), ([2], [[0.5, 0.5, 0.5, 0.6]]))
_SUFFIX = {"class": "loss_ce", "l1": "loss_bbox", "giou": "loss_giou"}


def write_detector(folder: Path, name: str, of: DetectorFamily, arguments: Mapping[str, Any], *, classes: int) -> None:
    """Writes the pair `name`: outputs, chosen tokens, losses, matching and gradients of two small pictures."""
    document = _document(of, arguments, classes, outputs={"pred_logits": {"shape": [], "stored": "all"}})
    detector = Detector(of, DetectorDocument.model_validate(document))
    entries = _entries(detector)
    filled = rules.fill_all([Entry.model_validate(entry) for entry in entries])
    detector.load(filled)
    detector.module.eval()
    outputs, arrays = _outputs(detector)
    training = _training(detector, arrays)
    detector.module.double()
    exact, _ = _outputs(detector)
    for key in ("pred_logits", "pred_boxes"):
        arrays[f"{key}{FLOAT64}"] = exact[key].numpy()
    parameters = sum(parameter.numel() for parameter in detector.module.parameters())
    described = {
        key: _described(key, arrays[key])
        for key in [*outputs, *(k for k in arrays if k.startswith(("topk/", DENOISING)))]
    }
    told = {
        **_document(of, arguments, classes, outputs=described),
        "parameters": parameters,
        "state_dict": entries,
        "training": training,
    }
    (folder / f"{name}.json").write_text(json.dumps({"name": name, **told}), "utf-8")
    save(folder / f"{name}.npz", arrays)


def _document(
    of: DetectorFamily, arguments: Mapping[str, Any], classes: int, *, outputs: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "format": "espalier-parity-1",
        "constructor": {"function": of.function, "args": dict(arguments), "num_classes": classes},
        "input": {"shape": [2, 3, 64, 96], "seed": 0, "rule": "espalier-input-1", "valid_sizes": [[64, 96], [48, 70]]},
        "mode": "eval, float32, CPU",
        "parameters": 0,
        "fill_rule": "espalier-fill-1",
        "fill_check": {},
        "tolerance": {"rule": NETWORK_RULE, "relative": 1e-4, "relative_float64": 5e-7},
        "outputs": dict(outputs),
        "state_dict": [{"name": "", "shape": [], "dtype": "float32", "kind": "param"}],
    }


def _entries(detector: Detector) -> list[dict[str, Any]]:
    trained = {name for name, _ in detector.module.named_parameters()}
    state = detector.module.state_dict()
    entries: list[dict[str, Any]] = []
    for own, names in detector.official.items():
        kind = "param" if own in trained else "buffer"
        shared = {"shape": list(state[own].shape), "dtype": "float32", "kind": kind}
        entries += [{"name": n, **shared, **({"same_as": names[0]} if n != names[0] else {})} for n in names]
    derived = {"dtype": "int64", "kind": "buffer", "filled": False}
    entries += [{"name": name, "shape": list(shape), **derived} for name, shape in detector.derived.items()]
    return entries


def _outputs(detector: Detector) -> tuple[dict[str, Tensor], dict[str, Array]]:
    with torch.no_grad(), detector.chosen(None) as scores:
        said, first = answers_of(detector.module, detector.module.encode(detector.image(), detector.valid_hw()))
    found = {f"aux/{n}/": each for n, each in enumerate(said[:-1])} | {"": said[-1]}
    if first is not None:
        found[detector.of.first] = first
    outputs = {f"{prefix}pred_logits": each.logits_BQC for prefix, each in found.items()}
    outputs |= {f"{prefix}pred_boxes": each.box_BQ4 for prefix, each in found.items()}
    arrays: dict[str, Array] = {key: value.numpy() for key, value in outputs.items()}
    if scores:
        token_BQ = best_tokens(scores[0], detector.spec.queries)
        arrays["topk/indices"] = token_BQ.numpy().astype(np.int32)
        arrays["topk/scores"] = scores[0].gather(1, token_BQ).numpy()
    return outputs, arrays


def _training(detector: Detector, arrays: dict[str, Array]) -> dict[str, Any]:
    for number, (labels, boxes) in enumerate(TARGETS):
        arrays[f"targets/{number}/labels"] = np.array(labels)
        arrays[f"targets/{number}/boxes"] = np.array(boxes, np.float32)
    targets = {
        "class_N": [torch.tensor(labels) for labels, _ in TARGETS],
        "box_N4": [torch.tensor(boxes) for _, boxes in TARGETS],
    }
    batch = Batch({"image": detector.image(), "valid_hw": detector.valid_hw()}, targets)
    module, recorder = detector.module, Recorder(detector.module.criterion)
    drawn = _draws(module, arrays)
    with scored_by(module, recorder, denoise=True):
        total = losses_of(module, batch, drawn)["total"]
    torch.autograd.backward(total)
    losses, weights = _terms(detector, recorder)
    matches = recorder.calls[detector.spec.decoder_layers - 1].matches
    norms = {detector.official[n][0]: p.grad for n, p in module.named_parameters()}
    arrays["grad_norm"] = np.array([float(g.norm()) for g in norms.values() if g is not None], np.float32)
    return {
        "losses": losses,
        "weights": weights,
        "total": float(total.detach()),
        "matching": {"final": [[m.query_N.tolist(), m.object_N.tolist()] for m in matches]},
        "grad": {
            "loss": "total",
            "array": "grad_norm",
            "names": [name for name, g in norms.items() if g is not None],
            "zero_or_unused": [name for name, g in norms.items() if g is None],
        },
    }


def _draws(module: ObjectQueries, arrays: dict[str, Array]) -> Draws | None:
    """Random numbers, stored as published ones are."""
    if not isinstance(module, Dino) or module.denoising is None:
        return None
    most, boxes = max(len(labels) for labels, _ in TARGETS), sum(len(labels) for labels, _ in TARGETS)
    rows = 2 * (module.denoising.spec.groups or max(1, module.denoising.spec.queries // most)) * boxes
    rng = np.random.RandomState(1)
    flip, sign = rng.random_sample(rows).astype(np.float32), rng.randint(0, 2, (rows, 4)).astype(np.float32)
    negative = (np.arange(rows) // boxes % 2)[:, None]
    part = ((sign * 2 - 1) * (rng.random_sample((rows, 4)) + negative)).astype(np.float32)
    flipped = flip < module.denoising.spec.label_noise / 2
    label = np.zeros(rows, np.int64)
    label[flipped] = rng.randint(0, module.denoising.classes, flipped.sum())
    drawn: dict[str, Array] = {"label_draw": flip, "new_label": label[flipped], "sign": sign, "part": part}
    arrays.update({f"{DENOISING}{name}": values for name, values in drawn.items()})
    return Draws(torch.from_numpy(flip), torch.from_numpy(label), torch.from_numpy(part))


def _terms(detector: Detector, recorder: Recorder) -> tuple[dict[str, float], dict[str, float]]:
    layers = detector.spec.decoder_layers
    suffixes = [*(f"_{n}" for n in range(layers - 1)), ""]
    rest = [f"_{detector.of.first.rstrip('/')}"] if len(recorder.calls) > layers else []
    named = [*suffixes, *rest, *(f"_dn{suffix}" for suffix in suffixes)]
    weights = recorder.inner.weights
    weight_of = {"class": weights.class_, "l1": weights.l1, "giou": weights.giou}
    losses, weighed = {}, {}
    for suffix, call in zip(named, recorder.calls, strict=False):
        for term, published in _SUFFIX.items():
            losses[f"{published}{suffix}"] = float(call.terms[term].detach())
            weighed[f"{published}{suffix}"] = float(weight_of[term])
    return losses, weighed


def _described(key: str, values: Array) -> dict[str, Any]:
    exact = values.astype(np.float64)
    float64 = {"float64": f"{key}{FLOAT64}"} if key in ("pred_logits", "pred_boxes") else {}
    return {"shape": list(values.shape), "stored": "all", "absmax": float(np.abs(exact).max()), **float64}


SMALL: Mapping[str, Any] = {
    "backbone": "resnet50",
    "num_queries": 6,
    "num_feature_levels": 4,
    "hidden_dim": 64,
    "dim_feedforward": 64,
    "nheads": 4,
    "enc_layers": 1,
    "dec_layers": 2,
    "enc_n_points": 2,
    "dec_n_points": 3,
}
DINO_ARGUMENTS: Mapping[str, Any] = {
    **SMALL,
    "return_interm_indices": [1, 2, 3],
    "dn_number": 100,
    "dn_labelbook_size": 3,
}
