"""Published tensors held against an encoder's own before any is put in."""

from __future__ import annotations

from collections.abc import Mapping

from timm.models import adapt_input_conv
from torch import Tensor

from espalier.errors import ModelError, Problem

_SHOWN = 3  # tensors in a message
_RGB = 3  # bands that weights can be adapted from


def fitted(
    name: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor], *, first: str, more: bool = False
) -> dict[str, Tensor]:
    """A given tensor for each of the encoder's own; the first convolution, `first`, adapted to the encoder's bands.

    `more` allows tensors that the encoder hasn't. Raises ModelError with the first that are missing, of another shape
    or, unless allowed, too many.
    """
    given = dict(given)
    if first in given and given[first].ndim == 4 and given[first].shape[1] == _RGB != own[first].shape[1]:
        given[first] = adapt_input_conv(own[first].shape[1], given[first])
    asked = [*own] if more else [*dict.fromkeys((*own, *given))]
    wrong = [problem for problem in (_misfit(n, given.get(n), own.get(n)) for n in asked) if problem]
    if wrong:
        others = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        fix = "name the encoder that the weights are for (network.backbone.name)"
        raise ModelError(Problem("", f"the weights don't fit {name}", "; ".join(wrong[:_SHOWN]) + others, fix))
    return {n: given[n] for n in own}


def _misfit(name: str, given: Tensor | None, own: Tensor | None) -> str:
    """What is wrong with a tensor, '' when it fits."""
    if given is None:
        return f"{name} is missing"
    if own is None:
        return f"{name} is none of this encoder's"
    return "" if given.shape == own.shape else f"{name} is {tuple(given.shape)}, not {tuple(own.shape)}"
