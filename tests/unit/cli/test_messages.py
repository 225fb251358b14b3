from __future__ import annotations

from espalier.cli.messages import result_lines


def test_a_result_in_lines() -> None:
    result = {
        "figures": {"accuracy": {"value": 0.91234, "low": 0.88, "high": 0.94, "note": "n"}, "ece": {"value": 0.1}},
        "passed": True,
        "nothing": None,
        "classes": ["cat", "dog"],
        "rows": [{"a": 1}],
        "long": list(range(50)),
        "path": "runs/x",
    }
    assert result_lines(result) == [
        "figures.accuracy: 0.9123 (0.88 to 0.94)",
        "figures.ece: 0.1",
        "passed: true",
        "classes: cat, dog",
        "path: runs/x",
    ]
