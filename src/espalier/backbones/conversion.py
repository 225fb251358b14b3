"""Published tensors under an encoder's own names, or one message that names the encoder that they are for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from espalier.backbones.converted import ConvertedTensors
from espalier.backbones.family import Family, HouseFamily
from espalier.backbones.registry import families, find
from espalier.errors import InputError, ModelError


def converted(
    tensors: Mapping[str, Tensor], name: str, *, where: str, name_it: str, hints: Sequence[str] = ()
) -> ConvertedTensors:
    """The tensors of the file `where` under the names of the encoder `name`.

    Raises ModelError with the first differences when they are of another family or size, and with the encoder that they
    fit: any of the house's, or one of timm's that a hint (a file's name) speaks of. `name_it` is what the user writes
    before an encoder's name, such as '--as '.
    """
    family, encoder = find(name)
    try:
        return family.convert(tensors, encoder)
    except ModelError as error:
        fits = fitting(tensors, hints)
        fix = f"these tensors are those of {fits}: {name_it}{fits}" if fits else _none_fits(name_it)
        raise ModelError(*(replace(problem, where=where, fix=fix) for problem in error.problems)) from None


def fitting(tensors: Mapping[str, Tensor], hints: Sequence[str] = ()) -> str | None:
    """The encoder that the tensors are those of, None when they fit none that is known here."""
    for family, name in _candidates(sum(tensor.numel() for tensor in tensors.values()), hints):
        try:
            family.convert(tensors, name)
        except ModelError:
            continue
        return name
    return None


def _candidates(numbers: int, hints: Sequence[str]) -> Iterator[tuple[Family, str]]:
    """Encoders with no more parameters than there are numbers: timm's that are hinted at, then the house's, largest
    first."""
    for hint in hints:
        for word in (re.split(r"[^A-Za-z0-9_]", hint)[0], hint):
            try:
                yield find(word)
            except InputError:
                continue
    of_house = [(family, name) for family in families() if isinstance(family, HouseFamily) for name in family.names()]
    sized = [(family.facts(name).params, family, name) for family, name in of_house]
    for params, family, name in sorted(sized, key=lambda entry: -entry[0]):
        if params <= numbers:
            yield family, name


def _none_fits(name_it: str) -> str:
    house = ", ".join(family.name for family in families() if isinstance(family, HouseFamily))
    return f"they fit none of the house's encoders ({house}); those of timm are named {name_it}timm/NAME"
