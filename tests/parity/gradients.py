"""Norms of gradients: they tell where a gradient is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from parity.documents import Entry, Grad
from parity.errors import CheckError
from parity.files import Array
from parity.findings import Finding, differs, holds
from parity.subject import Subject

LOSSES: Mapping[str, Callable[[Mapping[str, Tensor]], Tensor]] = {
    "mean(logits**2)": lambda given: given["logits"].square().mean()
}
_ZERO = 1e-8  # a norm that is zero by mathematics stays below it


def check_gradients(
    grad: Grad, entries: Sequence[Entry], arrays: Mapping[str, Array], subject: Subject, given: Mapping[str, Tensor]
) -> Iterator[Finding]:
    """Each parameter's norm within the relative tolerance; those that must get none get none.

    Norms that mathematics makes zero hold the rounding of whoever computed them: of them only smallness is asked.
    Raises CheckError for a loss in words that aren't known, or names that aren't the parameters.
    """
    stored = _stored(grad, entries, arrays)
    for official, ours in _norms(grad, subject, given):
        if any(pattern.fullmatch(official) for pattern in subject.noise):
            yield Finding(f"gradient of {official}", ours / _ZERO, f"{ours:.3g}, zero by mathematics")
        else:
            yield compare_norm(official, ours, stored.get(official), grad.tolerance_relative)


def _norms(grad: Grad, subject: Subject, given: Mapping[str, Tensor]) -> Iterator[tuple[str, float]]:
    """Of every parameter, by its official name; 0 where the loss doesn't reach it."""
    if grad.loss not in LOSSES:
        raise CheckError(f"grad.loss '{grad.loss}' is unknown")
    named = {subject.official[own]: parameter for own, parameter in subject.module.named_parameters()}
    got = torch.autograd.grad(LOSSES[grad.loss](given), list(named.values()), allow_unused=True)
    for name, gradient in zip(named, got, strict=True):
        yield name, 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient, dtype=torch.float64))


def _stored(grad: Grad, entries: Sequence[Entry], arrays: Mapping[str, Array]) -> dict[str, float]:
    norms = arrays.get(grad.array)
    if norms is None or norms.shape != (len(grad.names),):
        raise CheckError(f"{grad.array} doesn't hold a norm for each of grad.names")
    listed = [*grad.names, *grad.zero_or_unused]
    asked = {entry.name for entry in entries if entry.kind == "param" and entry.same_as is None}
    if len(set(listed)) != len(listed) or set(listed) != asked:
        raise CheckError("grad.names and grad.zero_or_unused are not the parameters, each once")
    return {name: float(norm) for name, norm in zip(grad.names, np.asarray(norms), strict=True)}


def compare_norm(name: str, ours: float, stored: float | None, relative: float) -> Finding:
    """Ours against the stored norm, None where the parameter must get no gradient."""
    what = f"gradient of {name}"
    if stored is None:
        return holds(what) if ours == 0 else differs(what, f"{ours:.3g}, and it must get none")
    return Finding(what, _relative(ours, stored) / relative, f"{ours:.6g}, not {stored:.6g} (within {relative:g})")


def _relative(ours: float, stored: float) -> float:
    if stored == 0:
        return 0.0 if ours == 0 else float("inf")
    return abs(ours - stored) / abs(stored)
