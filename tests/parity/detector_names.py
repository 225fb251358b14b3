"""Names of a detector in both directions: one tensor of ours may have many official names, as it has in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from parity.detector import Detector
from parity.documents import Entry
from parity.findings import Finding, differs, holds


def check_names(detector: Detector, entries: Sequence[Entry]) -> Iterator[Finding]:
    """Names, shapes, what is trained, and which names are one tensor."""
    own_of = {official: own for own, names in detector.official.items() for official in names}
    state = detector.module.state_dict()
    ours = {**{name: tuple(state[own].shape) for name, own in own_of.items()}, **_more(detector, entries)}
    theirs = {entry.name: entry.shape for entry in entries}
    yield from (differs(f"name {own}", "has no official name") for own, names in detector.official.items() if not names)
    yield from (differs(f"name {n}", "ours has no such tensor") for n in theirs if n not in ours)
    yield from (differs(f"name {n}", "only ours has it") for n in ours if n not in theirs)
    both = [n for n in theirs if n in ours]
    yield from (differs(f"shape {n}", f"{ours[n]}, not {theirs[n]}") for n in both if ours[n] != theirs[n])
    yield from _kinds(detector, own_of, entries)
    yield from _shared(own_of, entries)
    yield holds(f"{len(both)} names and shapes")


def _more(detector: Detector, entries: Sequence[Entry]) -> Mapping[str, tuple[int, ...]]:
    """Official tensors that nothing of ours corresponds to, and rightly: derived ones, and labels without denoising."""
    label = [entry for entry in entries if entry.name == "label_enc.weight"]
    unused = {e.name: e.shape for e in label if not any("denoising" in own for own in detector.official)}
    return {**detector.derived, **unused}


def _kinds(detector: Detector, own_of: Mapping[str, str], entries: Sequence[Entry]) -> Iterator[Finding]:
    trained = {name for name, _ in detector.module.named_parameters()}
    for entry in entries:
        if entry.name in own_of and (own_of[entry.name] in trained) != (entry.kind == "param"):
            yield differs(f"kind {entry.name}", "a parameter on one side only")


def _shared(own_of: Mapping[str, str], entries: Sequence[Entry]) -> Iterator[Finding]:
    """Names that are one tensor in the file are one here, and the other way round."""
    root_of = {entry.name: entry.same_as or entry.name for entry in entries}
    first: dict[str, str] = {}
    for entry in entries:
        own, root = own_of.get(entry.name), _root(entry.name, root_of)
        if own is None:
            continue
        if first.setdefault(own, root) != root:
            yield differs(f"sharing {entry.name}", f"ours shares it with {first[own]}, the file does not")
        if own_of.get(root) != own:
            yield differs(f"sharing {entry.name}", f"the file shares it with {root}, ours does not")


def _root(name: str, root_of: Mapping[str, str]) -> str:
    while root_of.get(name, name) != name:
        name = root_of[name]
    return name
