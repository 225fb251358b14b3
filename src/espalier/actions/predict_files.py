"""Answers as JSON, JSON Lines and CSV, written as they come."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from espalier.actions.predict_answer import Answer
from espalier.storage import writing


class JsonFile:
    """`predictions.json`, a list; or `predictions.jsonl`, a line an answer, which can be followed while it grows."""

    def __init__(self, folder: Path, *, lines: bool) -> None:
        self._path = folder / ("predictions.jsonl" if lines else "predictions.json")
        self._begin, self._between, self._end = ("", "\n", "\n") if lines else ("[\n", ",\n", "\n]\n")
        self._count = 0
        with writing(self._path):
            self._file = self._path.open("w", encoding="utf-8")
            self._file.write(self._begin)

    def add(self, answer: Answer) -> None:
        """One more item."""
        self._write(answer.json)

    def failed(self, name: str, error: str) -> None:
        """An item with the error."""
        self._write({"image": name, "error": error})

    def close(self) -> list[str]:
        """Ends the list."""
        with writing(self._path):
            self._file.write(self._end if self._count or self._begin else "")
            self._file.close()
        return [self._path.name]

    def _write(self, item: dict[str, Any]) -> None:
        text = json.dumps(item, ensure_ascii=False, allow_nan=False)
        with writing(self._path):
            self._file.write((self._between if self._count else "") + text)
            self._file.flush()
        self._count += 1


class CsvFile:
    """`predictions.csv`, a row for each object.

    Its header names every column that some row has, so it is known at the end: until then the rows wait on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._waiting = folder / "predictions.csv", folder / ".predictions.csv.rows"
        self._columns: dict[str, None] = {"image": None}
        with writing(self._path):
            self._file = self._waiting.open("w", encoding="utf-8")

    def add(self, answer: Answer) -> None:
        """The answer's rows."""
        for row in answer.rows:
            self._write(row)

    def failed(self, name: str, error: str) -> None:
        """A row with the error."""
        self._write({"image": name, "error": error})

    def close(self) -> list[str]:
        """Writes the CSV."""
        with writing(self._path):
            self._file.close()
            with (
                self._waiting.open(encoding="utf-8") as rows,
                self._path.open("w", encoding="utf-8", newline="") as out,
            ):
                writer = csv.DictWriter(out, list(self._columns), lineterminator="\n")
                writer.writeheader()
                writer.writerows(map(json.loads, rows))
            self._waiting.unlink()
        return [self._path.name]

    def _write(self, row: dict[str, Any]) -> None:
        self._columns.update(dict.fromkeys(row))
        with writing(self._path):
            self._file.write(json.dumps(row) + "\n")
