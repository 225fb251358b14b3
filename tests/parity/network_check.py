"""Everything that the file of a network asks, in order: names, weights, outputs and features, gradients, float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from parity import rules
from parity.compare import compare_output, compare_values
from parity.documents import Entry, NetworkDocument, network_document
from parity.errors import CheckError
from parity.files import Array, ParityFile
from parity.findings import Finding, differs, holds, within
from parity.gradients import check_gradients
from parity.subject import Subject, captured

_FILL_LIMIT = 1e-6  # of the values that `fill_check` quotes: they are float32 numbers of size 1


def check_network(file: ParityFile, build: Callable[[NetworkDocument], Subject]) -> Iterator[Finding]:
    """A finding for each comparison. Raises CheckError for what can't be compared, `build` for a size it can't make."""
    document = network_document(file)
    _all_arrays_are_asked(file, document)
    subject = build(document)
    names = list(_names(subject, document.state_dict))
    yield from names
    if not all(finding.ok for finding in names):
        return  # with other names nothing can be filled
    filled = rules.fill_all(document.state_dict)
    yield from fill_check(document.fill_check, filled)
    subject.load(filled)
    subject.module.eval()
    yield from _single(file, document, subject)
    if document.exact():
        yield from _double(file, document, subject)


def _all_arrays_are_asked(file: ParityFile, document: NetworkDocument) -> None:
    """An array that nobody compares would look as if it had been."""
    grad = {document.grad.array} if document.grad else set()
    unknown = file.arrays.keys() - document.outputs.keys() - set(document.exact().values()) - grad
    if unknown:
        raise CheckError(f"array {min(unknown)} is none that this family's check knows")


def _names(subject: Subject, entries: list[Entry]) -> Iterator[Finding]:
    """Names and shapes in both directions, and the number of parameters."""
    own = subject.module.state_dict()
    ours = {subject.official[name]: tuple(value.shape) for name, value in own.items()} | dict(subject.derived)
    theirs = {entry.name: entry.shape for entry in entries}
    yield from (differs(f"name {n}", "ours has no such tensor") for n in theirs if n not in ours)
    yield from (differs(f"name {n}", "only ours has it") for n in ours if n not in theirs)
    both = [n for n in theirs if n in ours]
    yield from (differs(f"shape {n}", f"{ours[n]}, not {theirs[n]}") for n in both if ours[n] != theirs[n])
    trained = {subject.official[name] for name, _ in subject.module.named_parameters(remove_duplicate=False)}
    asked = {entry.name for entry in entries if entry.kind == "param"}
    yield from (differs(f"kind {n}", "a parameter on one side only") for n in sorted(trained ^ asked) if n in ours)
    yield holds(f"{len(both)} names and shapes")


def fill_check(quoted: Mapping[str, list[float]], filled: Mapping[str, Array]) -> Iterator[Finding]:
    """The first values of some tensors: tells a wrong fill before it looks like a wrong network."""
    for name, values in quoted.items():
        if name not in filled:
            raise CheckError(f"fill_check.{name} is no filled tensor")
        yield within(f"fill of {name}", filled[name].reshape(-1)[: len(values)], values, _FILL_LIMIT)


def _single(file: ParityFile, document: NetworkDocument, subject: Subject) -> Iterator[Finding]:
    """Float32: every output and feature, the parameters' number, and the gradients of the same pass."""
    count = sum(parameter.numel() for parameter in subject.module.parameters())
    yield within("parameters", count, document.parameters, 0.5)
    image_BCHW = torch.from_numpy(rules.draw_input(document.input))
    with torch.set_grad_enabled(document.grad is not None), captured(subject, document.outputs) as seen:
        given = subject.outputs(image_BCHW)
    ours = {**{key: value.detach() for key, value in given.items()}, **seen}
    for key, described in document.outputs.items():
        yield compare_output(key, _array(key, ours), described, file.arrays[key], document.tolerance.relative)
    if document.grad is not None:
        yield from check_gradients(document.grad, document.state_dict, file.arrays, subject, given)


def _double(file: ParityFile, document: NetworkDocument, subject: Subject) -> Iterator[Finding]:
    """Float64: finds a wrong epsilon, which the noise of float32 hides."""
    subject.module.double()
    exact = document.exact()
    asked = {key: document.outputs[key] for key in exact}
    with torch.no_grad(), captured(subject, asked) as seen:
        given = subject.outputs(torch.from_numpy(rules.draw_input(document.input)).double())
    ours = {**given, **seen}
    for key, array in exact.items():
        assert document.tolerance.relative_float64 is not None  # network_document asks it where arrays are exact
        limit = document.tolerance.relative_float64
        yield compare_values(array, _array(key, ours), document.outputs[key], file.arrays[array], limit)


def _array(key: str, ours: Mapping[str, Tensor]) -> Array:
    if key not in ours:
        raise CheckError(f"outputs.{key} is none that this family's check knows")
    return np.asarray(ours[key].numpy())
