"""`bundle.json`: what it holds, and how it is read from text that may come from a stranger."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from espalier.bundle.files import FETCH_AGAIN
from espalier.errors import ModelError, Problem

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
MANIFEST_LIMIT = 8 * 2**20
"""Bytes: far above any true bundle.json, far below what could fill a memory."""

_MOST_VALUES = 300_000
"""Commas and brackets: each value may cost a kilobyte once it was found to be wrong."""

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*")


def safe_path(path: str) -> str:
    """`path` itself if it is a plain relative path inside the bundle on every system; raises ValueError otherwise."""
    parts = path.split("/")
    plain = all(_SAFE_PART.fullmatch(part) and not part.endswith(".") for part in parts)
    if not plain or len(path) > 200 or any(part.split(".")[0].lower() in _RESERVED for part in parts):
        raise ValueError("expected a plain relative path inside the bundle, such as golden/output.logits.npy")
    if path.lower() == MANIFEST:
        raise ValueError(f"{MANIFEST} cannot list itself")
    return path


class Part(BaseModel):
    """A part of the manifest: frozen, and an unknown field is an error (a newer format has a newer version)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        hide_input_in_errors=True,
    )


Number = Annotated[float, Field(strict=False)]
Text = Annotated[str, Field(max_length=100_000)]


class File(Part):
    """One file of the bundle."""

    path: Annotated[str, AfterValidator(safe_path)]
    size: int = Field(ge=0, le=2**40)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Port(Part):
    """An input or output of the graph: None in `shape` is a free dimension."""

    name: Text
    dtype: Text
    shape: tuple[int | None, ...] = Field(max_length=16, strict=False)


class Parity(Part):
    """How the artifact compared with the model it was made from: `error` is max|a-b| / max(1e-3, max|a|) by output.

    `pictures` were compared; `unsteady` more were asked, and left out as the model itself does not hold its answer.
    """

    tolerance: Number
    error: dict[str, Number]
    batches: Annotated[tuple[int, ...], FailFast()] = Field(strict=False)
    sizes_hw: tuple[Annotated[tuple[int, int], Field(strict=False)], ...] = Field(default=(), strict=False)
    pictures: int = Field(ge=0)
    unsteady: int = Field(default=0, ge=0)


class Metric(Part):
    """The headline figure of the model (`reference`) and of the artifact (`value`) on the same pictures."""

    name: Text
    value: Number
    reference: Number
    pictures: int = Field(ge=1)


class Runtime(Part):
    """A runtime in which the graph was compared with the model: its largest error; or, in `note`, why it was not."""

    backend: Text
    version: Text = ""
    error: Number | None = None
    note: Text = ""


class Artifact(Part):
    """A graph that a backend runs."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    backend: Text
    precision: Text
    files: Annotated[tuple[File, ...], FailFast()] = Field(min_length=1, max_length=1000, strict=False)
    inputs: Annotated[tuple[Port, ...], FailFast()] = Field(max_length=100, strict=False)
    outputs: Annotated[tuple[Port, ...], FailFast()] = Field(max_length=100, strict=False)
    parity: Parity | None = None
    metric: Metric | None = None
    runtimes: Annotated[tuple[Runtime, ...], FailFast()] = Field(default=(), max_length=100, strict=False)


class Decode(Part):
    """The decoder by name and version, and its parameters (thresholds among them)."""

    name: Text
    version: int = Field(ge=1)
    params: dict[str, JsonValue] = Field(default_factory=dict)
    reasons: dict[str, str] = Field(default_factory=dict)  # of the parameters that were chosen on pictures


class Licence(Part):
    """The licence of a part that travels inside: weights, mostly. `commercial` is None when nobody has stated it."""

    name: Text
    licence: Text
    url: Text = ""
    commercial: bool | None = None


class Golden(Part):
    """What `golden/` holds: `count` queries with their prepared inputs, raw outputs and predictions."""

    kind: Literal["drawn", "images"]
    count: int = Field(ge=1, le=1000)
    tolerance: Number = Field(gt=0)


class Provenance(Part):
    """Where the model comes from. No dates and no paths of the maker's machine."""

    versions: dict[str, Text] = Field(default_factory=dict)
    network: Text = ""
    spec: dict[str, JsonValue] = Field(default_factory=dict)
    data_fingerprint: Text = ""
    parent_run: Text = ""
    figures: dict[str, JsonValue] = Field(default_factory=dict)


class Manifest(Part):
    """All that a runtime must know, and all that a reader wants to know."""

    format_version: Literal[1] = 1
    name: Text
    task: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    classes: Annotated[tuple[Text, ...], FailFast()] = Field(max_length=200_000, strict=False)
    prepare: dict[str, JsonValue]
    decode: Decode
    tiles: dict[str, JsonValue] | None = None  # how large pictures are cut (vision.tiling); None: they are asked whole
    artifacts: Annotated[tuple[Artifact, ...], FailFast()] = Field(min_length=1, max_length=100, strict=False)
    golden: Golden | None = None
    files: Annotated[tuple[File, ...], FailFast()] = Field(default=(), max_length=10_000, strict=False)
    licences: Annotated[tuple[Licence, ...], FailFast()] = Field(default=(), max_length=1000, strict=False)
    provenance: Provenance = Field(default_factory=Provenance)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Manifest:
        _unique("file paths (upper and lower case are the same)", [f.path.lower() for f in self.all_files()])
        _unique("artifact ids", [a.id for a in self.artifacts])
        _unique("class names", self.classes)
        return self

    def all_files(self) -> tuple[File, ...]:
        """Every file of the bundle but bundle.json itself."""
        return (*(f for a in self.artifacts for f in a.files), *self.files)

    def file(self, path: str) -> File | None:
        """The record of that file, or None."""
        return next((f for f in self.all_files() if f.path == path), None)


def _unique(what: str, values: Sequence[str]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{what} must be unique")


def to_text(manifest: Manifest) -> str:
    """bundle.json: the same manifest gives the same bytes. Without tiles it is one that older versions read too."""
    value = manifest.model_dump(mode="json", exclude=None if manifest.tiles is not None else {"tiles"})
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_text(data: bytes, where: str) -> Manifest:
    """The manifest in `data`; raises ModelError with everything that is wrong with it, all at once."""
    raw = _json(data, where)
    _refuse_other_versions(raw, where)
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        raise ModelError(*_problems(error, where)) from None


def _json(data: bytes, where: str) -> Any:
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
        raise ModelError(
            Problem(where, f"holds more than {_MOST_VALUES:,} values", "a bundle's description", FETCH_AGAIN)
        )
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ModelError(Problem(where, f"is not readable as JSON: {reason}", fix=FETCH_AGAIN)) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _refuse_other_versions(raw: Any, where: str) -> None:
    if not isinstance(raw, Mapping):
        raise ModelError(Problem(where, "is not a bundle's description", "expected a JSON object", FETCH_AGAIN))
    version = raw.get("format_version")
    if version == FORMAT_VERSION and not isinstance(version, bool):
        return
    shown = json.dumps(version)[:40] if "format_version" in raw else "missing"
    newer = isinstance(version, int) and not isinstance(version, bool) and version > FORMAT_VERSION
    fix = "update Espalier: pip install -U espalier-vision" if newer else FETCH_AGAIN
    raise ModelError(Problem(f"{where}: format_version", f"is {shown}", f"this version reads {FORMAT_VERSION}", fix))


def _problems(error: ValidationError, where: str) -> list[Problem]:
    """What is wrong, without the lists that are only too short because of it."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    at = [item["loc"] for item in found]
    own = [f for f in found if f["type"] != "too_short" or not any(a[: len(f["loc"])] == f["loc"] != a for a in at)]
    return [
        Problem(f"{where}: {_dotted(item['loc'])}", item["msg"].removeprefix("Value error, "), fix=FETCH_AGAIN)
        for item in own[:20]
    ]


def _dotted(location: Sequence[int | str]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p[:80]}" for p in location).lstrip(".") or "bundle"
