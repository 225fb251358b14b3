"""The document of a network's parity file (`espalier-parity-1`), typed; what is missing or of a wrong kind is told."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parity.errors import CheckError
from parity.files import ParityFile

# The one wording of the tolerance of networks. Another wording may mean another rule, so it is refused.
NETWORK_RULE = (
    "max|yours - stored| <= tolerance.relative * max(1e-3, meta.absmax) for each float output; integer outputs equal; "
    "arrays KEY@float64: the same with model and input in float64 and tolerance.relative_float64"
)
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=0)]
D = TypeVar("D", bound="NetworkDocument")


class Entry(BaseModel):
    """A tensor of the official state dict."""

    model_config = ConfigDict(frozen=True)
    name: str
    shape: tuple[Size, ...]
    dtype: str
    kind: Literal["param", "buffer"]
    filled: bool = True
    same_as: str | None = None


class Input(BaseModel):
    """What goes in."""

    model_config = ConfigDict(frozen=True)
    shape: tuple[Size, Size, Size, Size]
    seed: int
    rule: str
    valid_sizes: list[tuple[int, int]] = []


class Output(BaseModel):
    """What is stored of one output, and what is known of the whole of it.

    `stored` and `rule` may be prose: then a family's checker must know them.
    """

    model_config = ConfigDict(frozen=True)
    shape: tuple[Size, ...]
    dtype: str = "float32"
    stored: str
    n: int = 0
    rule: str | None = None
    mean: float | None = None
    std: float | None = None
    absmax: float | None = None
    first: list[float] = []
    float64: str | None = None


class Grad(BaseModel):
    """The stored norms of gradients. Their tolerance is the README's 1e-3 unless the file states its own."""

    loss: str
    array: str
    names: list[str]
    zero_or_unused: list[str]
    tolerance_relative: Positive = 1e-3


class Tolerance(BaseModel):
    """A tolerance with a key that isn't known is refused: it would not be applied."""

    model_config = ConfigDict(extra="forbid")
    rule: str
    relative: Positive
    relative_float64: Positive | None = None


class NetworkDocument(BaseModel):
    """What every file of a network has; a family whose files have more extends it."""

    format: Literal["espalier-parity-1"]
    constructor: dict[str, Any]
    input: Input
    mode: Literal[
        "eval, float32, CPU",
        "eval, float32, CPU (deformable attention by grid_sample, bilinear, zeros, align_corners False)",
    ]
    grad: Grad | None = None
    parameters: int
    fill_rule: Literal["espalier-fill-1"]
    fill_check: dict[str, list[float]]
    tolerance: Tolerance
    outputs: Annotated[dict[str, Output], Field(min_length=1)]
    state_dict: Annotated[list[Entry], Field(min_length=1)]

    def exact(self) -> dict[str, str]:
        """The outputs that are stored in float64 too, and the names of those arrays."""
        return {key: output.float64 for key, output in self.outputs.items() if output.float64 is not None}


def network_document(file: ParityFile) -> NetworkDocument:
    """The typed document. Raises CheckError that names what is missing, wrong or unknown."""
    try:
        document = NetworkDocument.model_validate(file.document)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise CheckError("; ".join(told[:3])) from None
    return known_rule(document)


def known_rule(document: D) -> D:
    """The document itself. Raises CheckError for a tolerance whose rule or size isn't known."""
    if " ".join(document.tolerance.rule.split()) != NETWORK_RULE:
        raise CheckError(f"tolerance.rule is none that this tool knows: '{document.tolerance.rule[:60]}'")
    if document.exact() and document.tolerance.relative_float64 is None:
        raise CheckError("tolerance.relative_float64: missing, and there are arrays in float64")
    return document
