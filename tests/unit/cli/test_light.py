"""`--help` and `--version` are quick because nothing heavy is loaded, and no torch-free path loads torch."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import espalier

HEAVY = {"numpy", "pydantic", "torch", "yaml", "PIL", "cv2", "rich", "onnxruntime", "scipy", "fsspec", "msgspec"}
SCRIPT = """
import sys
from espalier.cli import main
code = main(sys.argv[1:])
print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


def _loaded(*arguments: str) -> tuple[int, str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, set(eval(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(("argument", "said"), [("--help", "verbs:"), ("--version", "espalier "), ("-h", "nouns:")])
def test_the_top_loads_nothing_heavy(argument: str, said: str) -> None:
    code, out, loaded = _loaded(argument)
    assert code == 0
    assert said in out
    assert not loaded & HEAVY


def test_a_wrong_verb_loads_nothing_heavy() -> None:
    code, _, loaded = _loaded("trian")
    assert code == 2
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [("predict", "--help"), ("spec", "classifier"), ("schema", "classifier", "train"), ("predict", "none", "a.jpg")],
)
def test_torch_stays_out(arguments: tuple[str, ...]) -> None:
    _, _, loaded = _loaded(*arguments)
    assert "torch" not in loaded


def test_every_verb_is_on_the_page_and_in_python() -> None:
    import espalier
    from espalier.actions import ACTIONS
    from espalier.cli.top import GROUPS, PRINTED, help_text

    for name in [*(action.name for action in ACTIONS), *GROUPS, *PRINTED]:
        assert f"\n  {name} " in help_text()
    for action in ACTIONS:
        assert callable(getattr(espalier, action.name))
        assert action.name in dir(espalier)


def test_python_m() -> None:
    done = subprocess.run([sys.executable, "-m", "espalier", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:9]) == (0, "espalier ")


def test_no_room_has_the_name_of_a_function() -> None:
    """Importing a room `espalier.NAME` would put the module in the place of the function `espalier.NAME`."""
    rooms = {module.name for module in pkgutil.iter_modules(espalier.__path__)}
    assert not rooms & set(espalier.__all__)
