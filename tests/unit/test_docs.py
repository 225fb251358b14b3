"""The docs are true: every verb, field, error and public name has its line, and what they show can be done."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import espalier
from espalier import errors
from espalier.actions import ACTIONS, get
from espalier.cli import nouns, verbs
from espalier.cli.top import GROUPS, PRINTED
from espalier.errors import UsageError
from espalier.networks import registry
from espalier.spec.describe import fields
from espalier.spec.load import load_spec, spec_class
from espalier.spec.sections import Spec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = sorted(p for p in [ROOT / "README.md", *DOCS.rglob("*.md")] if not p.is_relative_to(DOCS / "reference"))
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    found = importlib.util.spec_from_file_location("docs_reference", ROOT / "scripts" / "docs_reference.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(reference: ModuleType) -> dict[str, str]:
    made: dict[str, str] = reference.pages()
    return made


def fences(language: str) -> list[tuple[str, str]]:
    """(where, text) of every block of code in the written pages."""
    found = [(p, m) for p in WRITTEN for m in _FENCE.finditer(p.read_text("utf-8")) if m[1] == language]
    return [(f"{p.name}:{p.read_text('utf-8')[: m.start()].count(chr(10)) + 1}", m[2]) for p, m in found]


def known_fields() -> set[str]:
    classes = [spec_class(registry.get(name).spec) for name in registry.names()]
    return {f.path for cls in (Spec, *classes) for f in fields(cls)}


def test_every_verb_has_its_part(pages: dict[str, str]) -> None:
    for action in ACTIONS:
        assert f"\n## {action.name}\n" in pages["verbs.md"]
        assert action.help in pages["verbs.md"]
    for group in GROUPS:
        assert f"\n## {group}\n" in pages["verbs.md"]
    for name in PRINTED:
        assert f"`espalier {name}`" in pages["verbs.md"]


def test_every_field_has_its_line(pages: dict[str, str]) -> None:
    text = pages["spec.md"] + pages["networks.md"]
    for cls in (Spec, *(spec_class(registry.get(name).spec) for name in registry.names())):
        for field in fields(cls):
            assert field.description, f"{field.path} has no words"
            assert field.is_section or f"| `{field.path}` |" in text, field.path


def test_every_error_has_its_line(pages: dict[str, str], reference: ModuleType) -> None:
    found = {c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)}
    assert {c.__name__ for c in reference.error_classes()} == found
    for cls in reference.error_classes():
        assert cls.__doc__
        assert f"| `{cls.__name__}` | {cls.exit_code} |" in pages["errors.md"]


def test_every_public_name_has_its_part(pages: dict[str, str]) -> None:
    for name in espalier.__all__:
        assert f"## espalier.{name}\n" in pages["python.md"]
        assert name.startswith("__") or getattr(espalier, name).__doc__, f"espalier.{name} has no words"


def test_every_page_is_in_the_navigation(pages: dict[str, str]) -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    written = [p.relative_to(DOCS).as_posix() for p in WRITTEN if p.is_relative_to(DOCS)]
    for name in [*(f"reference/{page}" for page in pages), *written]:
        assert name in navigation or name.startswith("decisions/"), name


def test_specs_in_the_docs_load() -> None:
    shown = [(where, text) for where, text in fences("yaml") if "spec_version" in text]
    assert len(shown) >= 2
    for where, text in shown:
        spec = load_spec(_mapping(text), lookup=registry.entry, network_needed=True)
        assert spec.network is not None, where


def _mapping(text: str) -> dict[str, object]:
    import yaml

    loaded: dict[str, object] = yaml.safe_load(text)
    return loaded


def commands() -> Iterator[tuple[str, list[str]]]:
    for where, text in fences("bash"):
        for line in text.splitlines():
            if line.startswith("espalier "):
                yield where, shlex.split(line.split(" > ")[0], comments=True)[1:]


def test_commands_in_the_docs_are_ours() -> None:
    names = {action.name for action in ACTIONS} | set(GROUPS) | set(PRINTED)
    found = list(commands())
    assert len(found) >= 10
    for where, words in found:
        assert words[0] in names, where
        for word in words[1:]:
            field = re.match(r"([a-z_]+(?:\.[a-z_]+)+)=", word)
            assert not field or field[1] in known_fields(), f"{where}: {word}"
        try:
            _parse(words)
        except UsageError as error:
            pytest.fail(f"{where}: espalier {' '.join(words)}: {error}")


def _parse(words: list[str]) -> None:
    """Reads the command as the command line does, without running it. Raises UsageError."""
    name, *rest = words
    if name in GROUPS:
        command = next((c for c in nouns.table(name) if c.name == rest[0]), None)
        if command is None:
            raise UsageError(f"there is no command '{name} {rest[0]}'")
        nouns.parser(name, command).read(rest[1:])
    elif name not in PRINTED:
        action = get(name)
        assert action is not None
        verbs.parser(action).read(rest)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.stem)
def test_fields_named_in_the_docs_exist(page: Path) -> None:
    known, tops = known_fields(), {f.path for f in fields(Spec) if f.is_section}
    for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", page.read_text("utf-8")):
        if name.split(".")[0] in tops:
            assert name in known or name.split(".")[-1] in {"yaml", "json", "jsonl", "html", "csv"}, name


def test_python_in_the_docs_is_python() -> None:
    for where, text in fences("python"):
        compile(text, where, "exec")
        for name in re.findall(r"espalier\.([a-z_]+)\(", text):
            assert name in espalier.__all__, where


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path, pages: dict[str, str]) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        file = (page.parent / target).resolve()
        made = file.is_relative_to(DOCS / "reference") and file.name in pages
        assert made or file.exists(), f"{page.name}: {target}"
