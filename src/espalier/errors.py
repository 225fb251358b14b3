"""Every exception that users can meet, and the exit code each one ends the command with.

The tree::

    EspalierError              1
    ├── WorkError              1   the work itself failed
    │   ├── ParityError            an export differs from what was evaluated
    │   ├── DivergedError          training went to NaN or ran away
    │   ├── MemoryExhaustedError   the smallest batch does not fit
    │   └── StorageError           disk full, folder read-only, file vanished while writing
    ├── InputError             2   what was given is wrong
    │   ├── UsageError             the command line itself
    │   ├── SpecError              a spec's field, value or file
    │   ├── DataError              a data set or its labels
    │   ├── ImageError             one picture
    │   ├── ModelError             a run, checkpoint, bundle or weight file that can't be used
    │   ├── LicenceError           a licence that the spec refuses
    │   └── RunExistsError         the folder to write is not empty
    ├── MissingExtraError      3   something isn't installed
    └── InterruptedByUser    130   Ctrl-C; what was reached is saved
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it is, what it is, what was expected instead, and what to do."""

    where: str
    what: str
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        first = f"{self.where}: {self.what}" if self.where else self.what
        return "\n  ".join([first, *(line for line in (self.expected, self.fix) if line)])


class EspalierError(Exception):
    """An error with a message for people. All problems found are in `problems`; `exit_code` is the command's."""

    exit_code = 1

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: tuple[Problem, ...] = tuple(p if isinstance(p, Problem) else Problem("", p) for p in problems)
        super().__init__("\n".join(map(str, self.problems)))


class WorkError(EspalierError):
    """The input was fine, the work failed."""


class ParityError(WorkError):
    """An exported graph differs from the model it was made from by more than the stated tolerance."""


class DivergedError(WorkError):
    """The loss became NaN or infinite, or ran away; the last good checkpoint is kept."""


class MemoryExhaustedError(WorkError):
    """Not even a batch of one fits into memory."""


class StorageError(WorkError):
    """A file could not be written or read back: disk full, folder read-only. What was there is untouched."""


class InputError(EspalierError):
    """What the user gave is wrong."""

    exit_code = 2


class UsageError(InputError):
    """The command line is wrong: an unknown verb, a missing argument."""


class SpecError(InputError):
    """A spec has an unknown field, a value out of range, or is not readable."""


class DataError(InputError):
    """A data set can't be used as it is."""


class ImageError(InputError):
    """A picture can't be read, or is refused."""


class ModelError(InputError):
    """A run, checkpoint, bundle or weight file is missing, damaged, tampered with or of another kind."""


class LicenceError(InputError):
    """A weight's or network's licence is not among those the spec allows."""


class RunExistsError(InputError):
    """The folder to write into exists and is not empty."""


class MissingExtraError(EspalierError):
    """A part of Espalier that isn't installed is needed; the message holds the install line."""

    exit_code = 3

    def __init__(self, extra: str, needed_for: str) -> None:
        self.extra = extra
        line = f"pip install 'espalier-vision[{extra}]'"
        super().__init__(Problem("", f"{needed_for} needs the extra '{extra}', which is not installed", fix=line))


class InterruptedByUser(EspalierError):
    """Ctrl-C, or a polite stop signal. A good checkpoint was written first."""

    exit_code = 130
