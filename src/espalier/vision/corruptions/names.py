"""The corruptions' names, groups and severities, and how a person writes them: `noise:3`, `gaussian_noise:3`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from espalier.errors import InputError, Problem

SEVERITIES = (1, 2, 3, 4, 5)

GROUPS: Mapping[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""The paper's four groups of 15 in its order, and the four that it keeps for choosing settings by."""

COMMON: tuple[str, ...] = tuple(name for group, names in GROUPS.items() if group != "extra" for name in names)
EXTRA: tuple[str, ...] = GROUPS["extra"]
SETS: Mapping[str, tuple[str, ...]] = {"all": COMMON + EXTRA, "common": COMMON, **GROUPS}
"""Words that stand for several."""

SHORT: Mapping[str, str] = {
    "noise": "gaussian_noise",
    "blur": "defocus_blur",
    "jpeg": "jpeg_compression",
    "elastic": "elastic_transform",
}
"""Words that stand for one, where one is asked for."""


@dataclass(frozen=True, order=True)
class Corruption:
    """One corruption at one severity, 1-5. Raises InputError for others."""

    name: str
    severity: int

    def __post_init__(self) -> None:
        check(self.name, self.severity)

    def __str__(self) -> str:
        return f"{self.name}:{self.severity}"


def names() -> tuple[str, ...]:
    """All 19, the 15 common ones first."""
    return COMMON + EXTRA


def parse(text: str, *, where: str = "corruption") -> Corruption:
    """The corruption of `NAME:SEVERITY`, such as fog:2; `noise` is short for gaussian_noise.

    Raises InputError, which says that it stands in the field `where`.
    """
    name, colon, severity = text.strip().partition(":")
    name, severity = name.strip().replace("-", "_").lower(), severity.strip()
    if not colon or not severity.isascii() or not severity.isdecimal():
        what = f"'{text}' is not a corruption with its severity"
        raise InputError(Problem(where, what, "NAME:SEVERITY, such as fog:2, severity 1-5", _named_so(name)))
    name = SHORT.get(name, name)
    check(name, int(severity), where=where)
    return Corruption(name, int(severity))


def select(words: Iterable[str], *, where: str = "corruptions") -> tuple[str, ...]:
    """The corruptions that names and words for several (`all`, `common`, `noise` …) stand for, in the table's order.

    Raises InputError that names what is close for each unknown word, or where there is none.
    """
    given = [word.strip().replace("-", "_").lower() for word in words]
    given = [word if word in SETS else SHORT.get(word, word) for word in given]
    unknown = [word for word in given if word not in SETS and word not in names()]
    if unknown:
        raise InputError(*(_unknown(word, [*SETS, *names()], where) for word in unknown))
    wanted = {name for word in given for name in SETS.get(word, (word,))}
    if not wanted:
        raise InputError(Problem(where, "no corruption is asked for", f"names, or one of: {', '.join(SETS)}"))
    return tuple(name for name in names() if name in wanted)


def check(name: str, severity: int, *, where: str = "corruption") -> None:
    """Raises InputError for a corruption that there is not, or a severity outside 1-5."""
    if name not in names():
        raise InputError(_unknown(name, names(), where))
    if severity not in SEVERITIES:
        raise InputError(Problem(where, f"{name} has no severity {severity}", "a whole number from 1 to 5"))


def _unknown(word: str, known: Iterable[str], where: str) -> Problem:
    listed = list(known)
    close = difflib.get_close_matches(word, [*listed, *SHORT], n=3, cutoff=0.5)
    close += [name for name in listed if word and word in name and name not in close]
    hint = f"did you mean {' or '.join(repr(name) for name in close[:3])}?" if close else ""
    return Problem(where, f"there is no corruption '{word}'", f"one of: {', '.join(listed)}", hint)


def _named_so(name: str) -> str:
    full = SHORT.get(name, name)
    return f"for example {full}:3" if full in names() else ""
