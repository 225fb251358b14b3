"""`verify`: prove that a bundle on this machine still gives its golden outputs."""

from __future__ import annotations

from typing import Any

from espalier.bundle.bundle import Bundle
from espalier.bundle.compare import Match
from espalier.bundle.verify import VerifyReport
from espalier.errors import InputError, Problem, UsageError
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.runs.run import Run
from espalier.runtime.model import backend_of, bundle_path
from espalier.spec.sections import Spec
from espalier.spec.verbs import VerifySpec


def verify(spec: Spec, run: Run) -> dict[str, Any]:
    """What was checked, with the largest errors. Raises ParityError where the bundle gives something else here."""
    asked = spec.verify
    if asked.bundle is None:
        raise UsageError(Problem("verify.bundle", "no bundle was named", fix="espalier verify BUNDLE"))
    bundle = Bundle.open(bundle_path(asked.bundle))
    report = verify_bundle(bundle, asked)
    run.block("proof", report.block())
    for name in bundle.unlisted():
        run.warn(f"{bundle.path}: {name} is not listed in bundle.json and is never read")
    report.raise_if_failed(bundle.path)
    run.say(f"verified: {bundle.manifest.name}, {report.count} golden inputs, largest error {report.worst:.2g}")
    return {"bundle": bundle.path, "name": bundle.manifest.name, **report.to_json()}


def verify_bundle(bundle: Bundle, asked: VerifySpec) -> VerifyReport:
    """The report of an open bundle, by the backend and device that were asked for."""
    runs = backend_of(bundle, asked.backend, device=asked.device)
    return bundle.verify(runs.run, match=_match(bundle.manifest.provenance.network))


def _match(network: str) -> Match | None:
    """How that network's outputs are paired; None where this machine does not know the network."""
    try:
        path = registry.get(network).match_outputs
    except InputError:
        return None
    return None if path is None else cards.load(path)
