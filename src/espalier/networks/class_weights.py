"""The weights of classes in a loss, as numbers. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from espalier.errors import Problem, SpecError

WHERE = "network.loss.class_weights"


def numbers(given: str | tuple[float, ...], classes: Sequence[str]) -> tuple[float, ...] | None:
    """One number a class; None where no class counts more than another.

    Raises SpecError for another number of them, negative ones, and 'balanced', which must have been resolved by then.
    """
    if given == "none":
        return None
    if isinstance(given, str):
        fix = "resolve the spec with the data"
        raise SpecError(Problem(WHERE, "'balanced' needs the data's class counts", fix=fix))
    if len(given) != len(classes):
        fix = "give one number a class, in the order of data.classes"
        raise SpecError(Problem(WHERE, f"has {len(given)} numbers for {len(classes)} classes", fix=fix))
    if min(given) < 0 or max(given) == 0:
        raise SpecError(Problem(WHERE, "must be positive numbers (0 ignores a class, but not all of them)"))
    return given
