"""What a command says and how it ends: answers on standard output, errors on standard error, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import Any

from espalier.errors import EspalierError, InterruptedByUser, Problem

MOST_PROBLEMS = 40


def outcome(work: Callable[[], int], *, debug: bool) -> int:
    """The work's exit code; an error becomes lines on standard error and its own code."""
    try:
        return work()
    except EspalierError as error:
        return _failed(error_lines(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return _failed(["error: interrupted"], InterruptedByUser.exit_code, debug)
    except SystemExit as done:  # argparse, after it printed its help
        return done.code if isinstance(done.code, int) else 0
    except BrokenPipeError:
        _silence_output()
        return 0  # whoever read the output had enough of it
    except MemoryError:
        return _failed(["error: out of memory"], 1, debug)
    except Exception as error:  # noqa: BLE001 - the last stop: a defect is one line for people, never a bare traceback
        return _failed(defect_lines(error), 1, debug)


def error_lines(error: EspalierError) -> list[str]:
    """`error: where: what`, and below it what was expected and what to do, for each problem."""
    lines = [f"error: {_printable(problem)}" for problem in error.problems[:MOST_PROBLEMS]]
    left = len(error.problems) - MOST_PROBLEMS
    return [*lines, f"error: and {left} more"] if left > 0 else lines or ["error: the work failed"]


def defect_lines(error: BaseException) -> list[str]:
    """What is said of an error that should not happen."""
    text = " ".join(str(error).split())[:300]
    return [
        f"error: unexpected {type(error).__name__}: {text}",
        "  this is a defect of Espalier: please report it with the output of the same command and --debug",
    ]


def answer(text: str) -> int:
    """Prints to standard output, flushed at once so that a closed pipe is met here; returns 0."""
    print(text, flush=True)
    return 0


def answer_json(value: Any) -> int:
    """Prints JSON to standard output: two blanks deep, non-finite numbers as null."""
    return answer(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str))


def result_lines(result: Mapping[str, Any], *, whole: Collection[str] = ()) -> list[str]:
    """`name: value` for what of a result fits on a line; the rest is in the run and in --json.

    The lists named in `whole` are what was asked for: an item a line.
    """
    lines: list[str] = []
    for name, value in result.items():
        if name in whole and isinstance(value, (list, tuple)):
            lines += [f"{name}:", *(f"  {item}" for item in value)]
        elif isinstance(value, Mapping) and "value" in value:
            lines.append(f"{name}: {_figure(value)}")
        elif isinstance(value, Mapping):
            lines += [f"{name}.{line}" for line in result_lines(value)] if len(value) <= 12 else []
        elif isinstance(value, (list, tuple)):
            shown = all(isinstance(item, (str, int, float)) for item in value) and 0 < len(value) <= 12
            lines += [f"{name}: {', '.join(map(_short, value))}"] if shown else []
        elif value is not None:
            lines.append(f"{name}: {_short(value)}")
    return lines


def prepare_streams() -> None:
    """Characters that a terminal can't show are escaped instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _figure(figure: Mapping[str, Any]) -> str:
    """A number with its interval: `0.912 (0.88 to 0.94)`."""
    low, high = figure.get("low"), figure.get("high")
    return _short(figure["value"]) + ("" if low is None or high is None else f" ({_short(low)} to {_short(high)})")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _printable(problem: Problem) -> str:
    """The problem without control characters: a file's name can't drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in str(problem))


def _failed(lines: list[str], code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(lines), file=sys.stderr, flush=True)
    return code


def _silence_output() -> None:
    """Lets the interpreter's own flush at exit go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
