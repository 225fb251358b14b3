"""Why a file can't be checked."""

from __future__ import annotations


class CheckError(Exception):
    """The file is broken, asks what its family can't do, or states a rule that this tool doesn't know: a FAIL."""
