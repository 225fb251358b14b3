"""HTML that can't be broken out of: text is escaped wherever it is put, and only this module makes markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping

# Control characters have no place in HTML; the bidirectional overrides make a name read as another one.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"meta", "img", "br"})

Attributes = Mapping[str, str | int | float | None]


class Html(str):
    """Markup that may be put into a page as it is."""

    __slots__ = ()


def escape(text: object) -> Html:
    """The text as markup, for content and attributes alike."""
    return Html(html.escape(_UNFIT.sub("�", str(text)), quote=True))


def join(parts: Iterable[Html | str]) -> Html:
    """The parts one after another; plain text is escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def tag(name: str, attributes: Attributes, *children: Html | str) -> Html:
    """An element. An attribute that is None is left out; plain text is escaped."""
    told = "".join(f' {key}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{join(children)}</{name}>")


def _value(value: str | int | float) -> str:
    return short(value) if isinstance(value, float) else escape(value)


def short(value: float) -> str:
    """A coordinate: at most two decimals, no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def percent(fraction: float) -> str:
    """A share of the plot's width or height, as SVG takes it."""
    return f"{short(100 * fraction)}%"
