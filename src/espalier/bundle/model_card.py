"""README.md of a bundle: the model card, made from bundle.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from espalier.bundle.manifest import Artifact, Manifest, Runtime
from espalier.bundle.steady import edge_words

_SHOWN_CLASSES = 50


def model_card(manifest: Manifest) -> str:
    """The card in Markdown; the same manifest gives the same text."""
    parts = (_head, _use, _classes, _decode, _figures, _proof, _provenance, _licences)
    return "\n".join(line for part in parts for line in part(manifest)) + "\n"


def _head(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.name}"
    yield ""
    yield f"A model for {manifest.task.replace('_', ' ')}, exported by Espalier. It runs without PyTorch."


def _use(manifest: Manifest) -> Iterator[str]:
    yield from (
        "",
        "## Use",
        "",
        "```sh",
        "pip install espalier-vision",
        "espalier verify .",
        "espalier predict . photos/",
    )
    yield from ("```", "", "```python", "import espalier", "", 'model = espalier.load(".")')
    yield from ('print(model.predict(["a.jpg"]))', "```")


def _classes(manifest: Manifest) -> Iterator[str]:
    yield from ("", f"## Classes ({len(manifest.classes)})", "")
    shown = [_inline(name) for name in manifest.classes[:_SHOWN_CLASSES]]
    more = len(manifest.classes) - len(shown)
    yield ", ".join(shown) + (f" and {more} more (all are in bundle.json)" if more else "")


def _decode(manifest: Manifest) -> Iterator[str]:
    """The parameters that were chosen on pictures, with the reasons."""
    if not manifest.decode.reasons:
        return
    yield from ("", "## What it says, and from when on", "")
    for name, reason in manifest.decode.reasons.items():
        yield f"- {_inline(name)} {_number(manifest.decode.params.get(name))}: {_inline(reason)}"


def _figures(manifest: Manifest) -> Iterator[str]:
    figures = manifest.provenance.figures
    if not figures:
        return
    yield from ("", "## Scores on the validation pictures", "", "| figure | value |", "| --- | --- |")
    for name, value in figures.items():
        yield f"| {_inline(name)} | {_number(value)} |"
    yield from ("", "Scores tell about pictures like those; try your own before you rely on the model.")


def _proof(manifest: Manifest) -> Iterator[str]:
    yield from ("", "## Is it the model that was evaluated?", "")
    for artifact in manifest.artifacts:
        yield from _artifact(artifact)
    if manifest.golden is not None:
        yield f"- `espalier verify` compares any copy with the {manifest.golden.count} golden inputs in `golden/`."


def _artifact(artifact: Artifact) -> Iterator[str]:
    yield f"- `{artifact.files[0].path}`: {artifact.backend}, {artifact.precision}."
    if artifact.parity is not None:
        worst = max(artifact.parity.error.values(), default=0.0)
        yield (
            f"  Raw outputs differ from the trained model's by {worst:.1g} of the largest value "
            f"(at most {artifact.parity.tolerance:g} was allowed), over {artifact.parity.pictures} inputs."
        )
        unsteady = artifact.parity.unsteady
        if unsteady:
            yield f"  {edge_words(unsteady, artifact.parity.pictures + unsteady)}. These are not among them."
    if artifact.runtimes:
        yield f"  Proven in {'; '.join(map(_runtime, artifact.runtimes))}."
    if artifact.metric is not None:
        metric = artifact.metric
        values = f"{metric.value:.4f}, the trained model {metric.reference:.4f}"
        yield f"  {metric.name}: {values} ({metric.pictures} pictures)."


def _runtime(runtime: Runtime) -> str:
    if runtime.error is None:
        return f"{runtime.backend}: {_inline(runtime.note)}"
    return f"{runtime.backend} {_inline(runtime.version)} (largest error {runtime.error:.1g})"


def _provenance(manifest: Manifest) -> Iterator[str]:
    made = manifest.provenance
    yield from ("", "## Where it comes from", "")
    rows = {"network": made.network, "backbone": _backbone(made.spec), "run": made.parent_run,
            "data fingerprint": made.data_fingerprint,
            "versions": ", ".join(f"{name} {version}" for name, version in made.versions.items())}  # fmt: skip
    yield from (f"- {name}: {_inline(value)}" for name, value in rows.items() if value)
    yield "- the whole spec is in `bundle.json`, under `provenance.spec`"


def _backbone(spec: Mapping[str, Any]) -> str:
    network = spec.get("network")
    backbone = network.get("backbone") if isinstance(network, dict) else None
    return str(backbone.get("name", "")) if isinstance(backbone, dict) else ""


def _licences(manifest: Manifest) -> Iterator[str]:
    yield from ("", "## Licences", "")
    if not manifest.licences:
        yield "No licence of start weights is recorded: training began from random weights, or nobody stated one."
    for item in manifest.licences:
        commercial = {True: "commercial use allowed", False: "no commercial use", None: "commercial use not stated"}
        link = f" ({item.url})" if item.url else ""
        yield f"- {_inline(item.name)}: {_inline(item.licence)}, {commercial[item.commercial]}{link}"


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else _inline(str(value))


def _inline(text: str) -> str:
    """Text that can't break out of its line or table cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")[:500]
