"""Writes a parity file from a network of ours, to test this tool on sizes that no published file is at hand of.

What it writes says nothing of the published network; it only has the format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parity import rules
from parity.documents import NETWORK_RULE, Entry, Grad, Input, NetworkDocument, Output
from parity.files import FLOAT64, Array
from parity.gradients import LOSSES
from parity.subject import FEATURE, Subject, captured

_LOSS = "mean(logits**2)"
_SAMPLED = 2048  # values of a feature


def write(
    folder: Path,
    build: Callable[[NetworkDocument], Subject],
    constructor: Mapping[str, Any],
    *,
    shape: tuple[int, int, int, int],
    features: Mapping[str, tuple[int, ...]],
    relative: float = 2e-5,
) -> str:
    """The name of the pair written: logits, gradients, and `features` by their official names and shapes."""
    asked = Input(shape=shape, seed=0, rule="espalier-input-1")
    subject = build(_document(constructor, asked, relative))
    entries = _entries(subject)
    filled = rules.fill_all(entries)
    subject.load(filled)
    subject.module.eval()
    outputs, arrays, grad = _numbers(subject, asked, features)
    document = _document(constructor, asked, relative).model_copy(
        update={
            "parameters": sum(parameter.numel() for parameter in subject.module.parameters()),
            "fill_check": {name: values.reshape(-1)[:4].tolist() for name, values in list(filled.items())[:3]},
            "outputs": outputs,
            "grad": grad,
            "state_dict": entries,
        }
    )
    name = str(constructor["function"])
    told = document.model_dump(
        mode="json",
    )
    (folder / f"{name}.json").write_text(json.dumps({"name": name, **told}), "utf-8")
    save(folder / f"{name}.npz", arrays)
    return name


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes an npz."""
    np.savez(path, allow_pickle=False, **dict(arrays))


def _document(constructor: Mapping[str, Any], asked: Input, relative: float) -> NetworkDocument:
    """What is known before there is a network."""
    return NetworkDocument(
        format="espalier-parity-1",
        constructor=dict(constructor),
        input=asked,
        mode="eval, float32, CPU",
        parameters=0,
        fill_rule="espalier-fill-1",
        fill_check={},
        tolerance={"rule": NETWORK_RULE, "relative": relative, "relative_float64": relative / 20},
        outputs={"logits": Output(shape=(), stored="all")},
        state_dict=[Entry(name="", shape=(), dtype="float32", kind="param")],
    )


def _entries(subject: Subject) -> list[Entry]:
    trained = {name for name, _ in subject.module.named_parameters()}
    own = [_entry(subject.official[n], value, n in trained) for n, value in subject.module.state_dict().items()]
    derived = [
        Entry(name=n, shape=shape, dtype="int64", kind="buffer", filled=False) for n, shape in subject.derived.items()
    ]
    return own + derived


def _entry(name: str, value: Tensor, trained: bool) -> Entry:
    dtype = str(value.dtype).removeprefix("torch.")
    kind = "param" if trained else "buffer"
    return Entry(name=name, shape=tuple(value.shape), dtype=dtype, kind=kind, filled=value.is_floating_point())


def _numbers(
    subject: Subject, asked: Input, features: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Output], dict[str, Array], Grad]:
    """The outputs described, the arrays stored, and `grad`."""
    image_BCHW = torch.from_numpy(rules.draw_input(asked))
    shapes = {f"{FEATURE}{name}": Output(shape=shape, stored="sample") for name, shape in features.items()}
    with captured(subject, shapes) as seen:
        given = subject.outputs(image_BCHW)
    torch.autograd.backward(LOSSES[_LOSS](given))
    grads = {subject.official[n]: p.grad for n, p in subject.module.named_parameters()}
    norms = {name: float(grad.double().norm()) for name, grad in grads.items() if grad is not None}
    subject.module.double()
    with torch.no_grad():
        exact = subject.outputs(image_BCHW.double())["logits"].numpy()
    full = {"logits": given["logits"].detach().numpy()} | {key: value.numpy() for key, value in seen.items()}
    outputs = {key: _described(key, values) for key, values in full.items()}
    arrays: dict[str, Array] = {key: _stored(outputs[key], values) for key, values in full.items()}
    arrays[f"logits{FLOAT64}"] = exact
    arrays["grad_norm"] = np.array(list(norms.values()), np.float32)
    cut = sorted(grads.keys() - norms.keys())
    return outputs, arrays, Grad(loss=_LOSS, array="grad_norm", names=list(norms), zero_or_unused=cut)


def _described(key: str, values: Array) -> Output:
    exact = values.astype(np.float64)
    return Output(
        shape=values.shape,
        stored="all" if key == "logits" else "sample",
        n=min(_SAMPLED, math.prod(values.shape)),
        mean=exact.mean(),
        std=exact.std(),
        absmax=np.abs(exact).max(),
        first=_first(exact),
        float64=f"logits{FLOAT64}" if key == "logits" else None,
    )


def _first(values: Array) -> Sequence[float]:
    first: list[float] = values.reshape(-1)[:8].tolist()
    return first


def _stored(described: Output, values: Array) -> Array:
    return values if described.stored == "all" else rules.sample(values, described.n)
