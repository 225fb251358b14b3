"""The document of a detector's file: a network's, with targets, losses, denoising draws and detections."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parity.documents import NetworkDocument, Positive, known_rule
from parity.errors import CheckError
from parity.files import ParityFile

Matching = list[list[list[int]]]  # of each image: queries, and the objects that they answer for


class TrainingGrad(BaseModel):
    """The stored norms of the gradients of the total loss."""

    model_config = ConfigDict(frozen=True)
    loss: Literal["total"]
    array: str
    names: list[str]
    zero_or_unused: list[str]


class Training(BaseModel):
    """Losses of the batch with its targets."""

    model_config = ConfigDict(frozen=True)
    losses: Annotated[dict[str, float], Field(min_length=1)]
    weights: dict[str, float]
    total: float
    matching: dict[str, Matching]
    grad: TrainingGrad | None = None
    tolerance_relative: Positive = 1e-3  # of the gradients' norms
    pad_size: int | None = None  # denoising queries of a picture
    num_dn_group: int | None = None


class Postprocess(BaseModel):
    """The sizes of the pictures that detections are told for."""

    model_config = ConfigDict(frozen=True)
    target_sizes_hw: list[tuple[int, int]]


class DetectorDocument(NetworkDocument):
    """What a detector's file has beyond a network's."""

    training: Training | None = None
    postprocess: Postprocess | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the published constructor. Raises CheckError where there are none."""
        arguments = self.constructor.get("args")
        if not isinstance(arguments, dict):
            raise CheckError("constructor.args is missing")
        return arguments


def detector_document(file: ParityFile) -> DetectorDocument:
    """The typed document. Raises CheckError that names what is missing, wrong or unknown."""
    try:
        document = DetectorDocument.model_validate(file.document)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise CheckError("; ".join(told[:3])) from None
    return known_rule(document)
