"""A network of a few hundred numbers, for the tests of this tool."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from parity.documents import NetworkDocument
from parity.errors import CheckError
from parity.files import ParityFile
from parity.findings import Finding
from parity.network_check import check_network
from parity.subject import Feature, Filled

OFFICIAL = {"embed": "patch_embed.proj", "norm": "patch_embed.bn", "query": "attn.q", "head": "head"}


class Toy(nn.Module):
    """Patches, a norm, a mean weighted by a softmax, a head. A softmax ignores `query.bias`, nobody reads `unused`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 8, stride=8)
        self.norm = nn.BatchNorm2d(width)
        self.query = nn.Linear(width, 1)
        self.head = nn.Linear(width, 5)
        self.unused = nn.Parameter(torch.zeros(2))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """(B, 5)."""
        tokens_BNC = self.norm(self.embed(image_BCHW)).flatten(2).transpose(1, 2)
        share_BN1 = self.query(tokens_BNC).softmax(dim=1)
        logits: Tensor = self.head((share_BN1 * tokens_BNC).sum(dim=1)) / 4  # so that rounding stays far below limits
        return logits


class ToySubject:
    """A Toy of 8 or 16 channels under its official names."""

    derived: Mapping[str, tuple[int, ...]] = {"attn.index": (4, 4)}
    noise: Sequence[re.Pattern[str]] = (re.compile(r"attn\.q\.bias"),)

    def __init__(self, document: NetworkDocument) -> None:
        width = {"toy_8": 8, "toy_16": 16}.get(document.constructor["function"])
        if width is None:
            raise CheckError(f"toy has no size '{document.constructor['function']}'")
        self.module = Toy(width)
        self.official = {own: _official(own) for own in self.module.state_dict()}

    def load(self, filled: Filled) -> None:
        """By name."""
        own = {
            name: torch.from_numpy(filled[official]) for name, official in self.official.items() if official in filled
        }
        self.module.load_state_dict(own, strict=False)

    def outputs(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """The logits."""
        return {"logits": self.module(image_BCHW)}

    def feature(self, name: str) -> Feature:
        """The map of patches, channels last as the toy's authors had it."""
        if name != "patch_embed":
            raise CheckError(f"toy has no feature '{name}'")
        return Feature("norm", lambda map_BCHW, _shape: map_BCHW.permute(0, 2, 3, 1))


class ToyChecker:
    """Claims `toy_*`."""

    def claims(self, file: ParityFile) -> bool:
        """By the function."""
        return str(file.constructor.get("function", "")).startswith("toy_")

    def check(self, file: ParityFile) -> Iterator[Finding]:
        """Everything that the file asks."""
        return check_network(file, ToySubject)


def _official(own: str) -> str:
    part, _, rest = own.partition(".")
    return f"{OFFICIAL.get(part, part)}.{rest}" if rest else own
