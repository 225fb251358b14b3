"""The page: one HTML file with its style and script inside. It asks the network for nothing, and may not."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path

from espalier import storage
from espalier.blocks import Block, Headline
from espalier.runs.console import duration
from espalier.runs.record import RunRecord
from espalier.runs.report import figures, render
from espalier.runs.report.document import Document, Section, read_document
from espalier.runs.report.markup import Html, escape, join, tag

NAME = "report.html"
_STATES = {"done": "finished", "failed": "failed", "interrupted": "interrupted", "running": "not finished"}


def write_report(run_path: Path, *, title: str | None = None) -> Path:
    """Where the run's page was written. Raises ModelError (not a run, a damaged event) or StorageError."""
    document = read_document(run_path)
    storage.write_atomic(run_path / NAME, run_page(document, run_path, title=title))
    return run_path / NAME


def render_blocks(title: str, blocks: Sequence[Block], root: Path) -> str:
    """A page of mere blocks; pictures are read from `root`."""
    header = tag("header", {"class": "top"}, tag("h1", {}, title))
    return _page(title, header, Html(""), tag("section", {}, render.blocks(blocks, root)), Html(""))


def run_page(document: Document, root: Path, *, title: str | None = None) -> str:
    """A run's page; pictures are read from `root`."""
    name = title or document.record.name or document.record.action
    sections = [
        tag(
            "section",
            {"id": s.name, "aria-labelledby": f"{s.name}-title"},
            tag("h2", {"id": f"{s.name}-title"}, s.title),
            render.blocks(s.blocks, root),
        )
        for s in document.sections
    ]
    body = join([_notices(document), *(sections or [tag("p", {"class": "none"}, "This run has nothing to show yet.")])])
    return _page(
        _tab_title(name, document), _header(name, document), _navigation(document.sections), body, _footer(document)
    )


def _page(title: str, header: Html, navigation: Html, body: Html, footer: Html) -> str:
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        {},
        tag("meta", {"charset": "utf-8"}),
        tag("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        tag("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("meta", {"name": "color-scheme", "content": "light dark"}),
        tag("meta", {"name": "referrer", "content": "no-referrer"}),
        tag("title", {}, title),
        tag("style", {}, Html(style)),
    )
    main = tag("main", {"id": "main"}, body, footer)
    skip = tag("a", {"class": "skip", "href": "#main"}, "Skip to the result")
    page = tag(
        "body", {}, skip, header, tag("div", {"class": "frame"}, navigation, main), tag("script", {}, Html(script))
    )
    return f"<!doctype html>\n{tag('html', {'lang': 'en'}, head, page)}\n"


def _asset(name: str) -> str:
    return resources.files("espalier.runs.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _tab_title(name: str, document: Document) -> str:
    first = next((b for s in document.sections for b in s.blocks if isinstance(b, Headline) and b.figures), None)
    told = f" · {figures.value(first.figures[0].value, first.figures[0].unit)}" if first else ""
    return f"{name}{told} · Espalier"


def _header(name: str, document: Document) -> Html:
    record = document.record
    facts = [_STATES[record.state], *filter(None, [_date(record.started), _took(record)])]
    return tag(
        "header",
        {"class": "top"},
        tag("p", {"class": "brand"}, _LEAF, "Espalier", tag("span", {}, record.action)),
        tag("h1", {}, name),
        tag(
            "p",
            {"class": "facts"},
            *(tag("span", {"class": f"state {record.state}" if i == 0 else None}, f) for i, f in enumerate(facts)),
        ),
    )


_LEAF = Html(
    '<svg class="leaf" viewBox="0 0 24 24" aria-hidden="true">'
    '<path d="M12 22V4M12 9H5V5M12 9h7V5M12 16H5v-4M12 16h7v-4"/></svg>'
)


def _navigation(sections: Sequence[Section]) -> Html:
    if len(sections) < 2:
        return Html("")
    items = [tag("li", {}, tag("a", {"href": f"#{s.name}"}, s.title)) for s in sections]
    return tag("nav", {"aria-label": "Sections"}, tag("ol", {}, *items))


def _notices(document: Document) -> Html:
    parts = []
    record = document.record
    if record.error:
        heading = "The run was interrupted" if record.state == "interrupted" else "The run failed"
        parts.append(_notice("error", heading, [record.error]))
    if document.warnings:
        parts.append(_notice("warning", "Worth knowing", document.warnings))
    if document.unknown:
        parts.append(
            _notice("warning", "Not everything is shown", [f"{document.unknown} parts need a newer Espalier."])
        )
    return join(parts)


def _notice(css: str, heading: str, lines: Sequence[str]) -> Html:
    return tag(
        "aside",
        {"class": f"notice {css}"},
        tag("h2", {}, heading),
        tag("ul", {}, *(tag("li", {}, line) for line in lines)),
    )


def _footer(document: Document) -> Html:
    record = document.record
    rows = [
        *(("seed", str(record.seed)) for _ in range(record.seed is not None)),
        *((name.replace("_", " "), str(value)) for name, value in record.hardware.items() if value is not None),
        *(("made from", record.parent) for _ in range(record.parent is not None)),
        *(("resumed", f"{record.resumed} ×") for _ in range(record.resumed > 0)),
        *record.versions.items(),
    ]
    facts = tag("dl", {}, *(tag("div", {}, tag("dt", {}, k), tag("dd", {}, v or "")) for k, v in rows))
    log = tag("pre", {"tabindex": 0}, "\n".join(document.log)) if document.log else Html("")
    return tag(
        "footer",
        {},
        tag("details", {}, tag("summary", {}, "Machine and versions"), facts) if rows else Html(""),
        tag("details", {}, tag("summary", {}, "What was said on the way"), log) if document.log else Html(""),
        tag("p", {"class": "fine"}, escape("This page is one file and asks the network for nothing.")),
    )


def _date(iso: str) -> str:
    try:
        return f"{datetime.fromisoformat(iso):%d %b %Y, %H:%M} UTC"
    except ValueError:
        return ""


def _took(record: RunRecord) -> str:
    try:
        seconds = (datetime.fromisoformat(record.ended or "") - datetime.fromisoformat(record.started)).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f"took {duration(seconds)}" if math.isfinite(seconds) and seconds >= 0 else ""
