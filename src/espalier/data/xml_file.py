"""XML from strangers: read piece by piece, with the line of each element, and without entities.

A document type is refused, and with it every way to make a parser expand text or open another file. Depth, and the
size of what is held at a time, are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from espalier import storage
from espalier.errors import DataError, Problem

_CHUNK = 1 << 20
_DEEPEST = 32
_MOST_ELEMENTS = 200_000  # in one piece: an image with all its labels
_MOST_BYTES = 64 << 20  # likewise
_LONGEST_TEXT = 1 << 16  # names and numbers


@dataclass(slots=True)
class Element:
    """An element with all that is in it; `line` is where it begins."""

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def child(self, tag: str) -> Element | None:
        """The first of that tag, or None."""
        return next((child for child in self.children if child.tag == tag), None)

    def all(self, tag: str) -> Iterator[Element]:
        """Those of that tag."""
        return (child for child in self.children if child.tag == tag)

    def text_of(self, *tags: str) -> str:
        """The text of the element that the tags lead to, stripped; '' when there is none."""
        found: Element | None = self
        for tag in tags:
            found = found.child(tag) if found else None
        return found.text.strip() if found else ""


def document(path: str, content: bytes, *, root: str) -> Element:
    """The root of a small file that was read already. Raises DataError as `pieces` does."""
    builder = _Builder(path, root, depth=0)
    builder.feed(content, last=True)
    return builder.taken()[0]


def pieces(path: str, *, root: str) -> Iterator[Element]:
    """The elements right below the root, each when its end was read.

    Raises DataError for a file that is no XML, ends too early, has another root or declares a document type.
    """
    builder = _Builder(path, root, depth=1)
    fed = 0
    with storage.open_read(path) as file:
        while chunk := file.read(_CHUNK):
            fed += len(chunk)
            builder.feed(chunk, last=False)
            builder.refuse_large(fed)
            yield from builder.taken()
        builder.feed(b"", last=True)
        yield from builder.taken()


def root_tag(head: bytes) -> str:
    """The name of the first element in the first bytes of a file; '' when they are no XML."""
    found: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, _: found.append(tag)
    try:
        parser.Parse(head, False)
    except (expat.ExpatError, ValueError, LookupError):
        return found[0] if found else ""
    return found[0] if found else ""


class _Builder:
    def __init__(self, path: str, root: str, depth: int) -> None:
        self._path, self._root, self._depth = path, root, depth
        self._open: list[Element] = []
        self._done: list[Element] = []
        self._elements, self._begun = 0, 0
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text

    def feed(self, content: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(content, last)
        except expat.ExpatError as error:
            raise DataError(
                Problem(f"{self._path}:{error.lineno}", f"not valid XML: {expat.ErrorString(error.code)}")
            ) from error
        except (ValueError, LookupError) as error:  # an encoding that isn't there
            raise DataError(Problem(self._path, f"not valid XML: {error}")) from error

    def taken(self) -> list[Element]:
        done, self._done = self._done, []
        return done

    def refuse_large(self, fed: int) -> None:
        if fed - self._begun > _MOST_BYTES:
            raise self._problem("one element has more than 64 MB, and is refused")

    def _problem(self, what: str, expected: str = "") -> DataError:
        return DataError(Problem(f"{self._path}:{self._parser.CurrentLineNumber}", what, expected))

    def _refuse_document_type(self, *_: object) -> None:
        raise self._problem(
            "a document type (DOCTYPE) is refused: labels need none, and it can hide attacks", "plain XML"
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        level = len(self._open)
        if level == 0 and tag != self._root:
            raise self._problem(f"the first element is <{tag[:40]}>", f"<{self._root}>")
        if level >= _DEEPEST:
            raise self._problem(f"elements are nested more than {_DEEPEST} deep")
        if level == self._depth:
            self._elements, self._begun = 0, self._parser.CurrentByteIndex
        self._elements += 1
        if self._elements > _MOST_ELEMENTS:
            raise self._problem(f"more than {_MOST_ELEMENTS:,} elements in one")
        element = Element(tag, attributes, self._parser.CurrentLineNumber)
        if level > self._depth:
            self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, _tag: str) -> None:
        element = self._open.pop()
        if len(self._open) == self._depth:
            self._done.append(element)
            self._begun = self._parser.CurrentByteIndex

    def _text(self, text: str) -> None:
        if len(self._open) > self._depth and not text.isspace():
            self._open[-1].text += text
            if len(self._open[-1].text) > _LONGEST_TEXT:
                raise self._problem(f"an element has more than {_LONGEST_TEXT:,} characters of text")
