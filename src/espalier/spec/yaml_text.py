"""YAML in and out, in the small and safe part of the language that a spec needs (YAML 1.2's core: `1e-3` is a number,
`no` is text). Line numbers are kept; duplicate keys, foreign tags and alias bombs are refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from espalier.errors import Problem, SpecError
from espalier.spec.source import MAX_DEPTH, Origin, Path, Source, dotted, nested

MAX_CHARACTERS = 200_000
MAX_VALUES = 50_000

_NULL = re.compile(r"(|~|null|Null|NULL)\Z")
_TRUE = re.compile(r"(true|True|TRUE)\Z")
_FALSE = re.compile(r"(false|False|FALSE)\Z")
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}\Z")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = {".nan": "nan", ".inf": "inf", "+.inf": "inf", "-.inf": "-inf"}
_PLAIN = re.compile(r"[A-Za-z_/.~][\w/.+~*?-]*( [\w/.+~*?-]+)*\Z", re.ASCII)
_BARE = "bare"
_SAFE_TAGS = frozenset({_BARE, "!"} | {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")})


class _Loader(yaml.SafeLoader):
    """Composes nodes only; a text nested too deep is refused before it can exhaust the stack."""

    depth = 0

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> Any:
        """Every bare scalar gets one tag of our own; `scalar` reads it."""
        if kind is ScalarNode and implicit[0]:
            return _BARE
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # PyYAML's stubs

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's stubs
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=mark)
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def parse(text: str, name: str) -> Source:
    """The values of a YAML mapping with the line of each key; `name` is the file's.

    Raises SpecError with every duplicate key and foreign tag, or with the first place that is not YAML.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpecError(Problem(name, f"{len(text):,} characters are too many for a spec (at most {MAX_CHARACTERS:,})"))
    node = _compose(text, name)
    if node is None:
        return Source({}, {(): Origin(name)})
    if not isinstance(node, MappingNode):
        fix = "write sections and fields, e.g. 'train:' and below it '  epochs: 3'"
        raise SpecError(Problem(name, "this is not a mapping", fix=fix))
    reader = _Reader(name)
    values = reader.value(node, ())
    if reader.problems:
        raise SpecError(*reader.problems)
    return Source(values, {(): Origin(name), **reader.origins})


def parse_value(text: str, path: Path, where: str) -> Source:
    """The value of an override: a list, mapping or quoted text in YAML, everything else one bare scalar."""
    if text.lstrip()[:1] not in ("[", "{", '"', "'"):
        return Source(nested(path, scalar(text.strip())), {path: Origin(where, text.strip())})
    reader = _Reader(where, lines=False)
    node = _compose(text, f"{where}: {dotted(path)}", lines=False)
    value = reader.value(node, path) if node else None
    if reader.problems:
        raise SpecError(*reader.problems)
    return Source(nested(path, value), {path: Origin(where), **reader.origins})


def scalar(text: str) -> str | int | float | bool | None:
    """What a bare scalar means."""
    if _NULL.match(text):
        return None
    if _TRUE.match(text) or _FALSE.match(text):
        return bool(_TRUE.match(text))
    if _INTEGER.match(text):
        return int(text)
    if _NUMBER.match(text):
        return float(text)
    return float(_SPECIAL[text.lower()]) if text.lower() in _SPECIAL else text


def _compose(text: str, name: str, *, lines: bool = True) -> Node | None:
    """The tree of nodes, or SpecError with the line where the text stops being YAML."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        where, code = f"{name}:{text.count(chr(10), 0, error.position) + 1}", ord(text[error.position])
        raise SpecError(Problem(where, f"the character U+{code:04X} is not allowed")) from error
    try:
        node: Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark and lines else name
        raise SpecError(Problem(where, f"not YAML: {error.problem or error.context}")) from error
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, a version of a million digits
        raise SpecError(Problem(f"{name}:{loader.line + 1}", f"not YAML: {error}")) from error
    finally:
        loader.dispose()
    return node


class _Reader:
    """Turns nodes into plain values, collecting origins and everything that is refused."""

    def __init__(self, name: str, *, lines: bool = True) -> None:
        self.name, self.lines = name, lines
        self.origins: dict[Path, Origin] = {}
        self.problems: list[Problem] = []
        self.count = 0
        self.open: set[int] = set()  # containers being read: an alias to one of them would never end

    def value(self, node: Node, path: Path) -> Any:
        """The node's plain value; problems leave None."""
        self.count += 1
        if id(node) in self.open:
            raise SpecError(Problem(self.where(node), "this alias (*name) contains itself"))
        if self.count > MAX_VALUES:
            raise SpecError(Problem(self.where(node), f"more than {MAX_VALUES:,} values, those of aliases counted"))
        if node.tag not in _SAFE_TAGS:
            self.refuse(
                node, path, f"the tag {node.tag} is not allowed", "leave it out; a spec holds plain values only"
            )
            return None
        if isinstance(node, ScalarNode):
            self.origins.setdefault(path, Origin(self.where(node)))
            return self.scalar(node, path)
        self.open.add(id(node))
        value = self.sequence(node, path) if isinstance(node, SequenceNode) else self.mapping(node, path)
        self.open.discard(id(node))
        return value

    def scalar(self, node: ScalarNode, path: Path) -> Any:
        """Quoted text stays text; the bare text of the rest is kept for fields that want text."""
        if node.tag != _BARE:
            return node.value
        self.origins[path] = Origin(self.origins[path].where, node.value)
        return scalar(node.value)

    def sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        """A list; each item's origin is its own line."""
        return [self.value(item, (*path, position)) for position, item in enumerate(node.value)]

    def mapping(self, node: Node, path: Path) -> dict[str, Any]:
        """A mapping whose keys are text and there once; a key's line is its value's origin."""
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.refuse(key_node, path, "a key must be plain text", "")
                continue
            key = key_node.value
            here = (*path, key)
            if key in values:
                self.refuse(key_node, here, "this key is here twice", f"the first is at {self.origins[here].where}")
                continue
            self.origins[here] = Origin(self.where(key_node))
            values[key] = self.value(value_node, here)
        return values

    def where(self, node: Node) -> str:
        """`file:line`, or the override as it stands."""
        return f"{self.name}:{node.start_mark.line + 1}" if self.lines else self.name

    def refuse(self, node: Node, path: Path, what: str, fix: str) -> None:
        """Notes a problem and goes on."""
        where = ": ".join(part for part in (self.where(node), dotted(path)) if part)
        self.problems.append(Problem(where, what, fix=fix))


def written(value: Any) -> str:
    """The value on one line of YAML, so that `parse` reads it back exactly."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value).replace("inf", ".inf").replace("nan", ".nan")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(str(key))}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(written, value)) + "]"
    return _text(str(value))


def _text(text: str) -> str:
    """Text bare where it stays text, else in double quotes."""
    if _PLAIN.match(text) and scalar(text) == text:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
