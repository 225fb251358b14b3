"""What every detection decoder starts from."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.tasks.detection.decoders.rows import best


@pytest.mark.parametrize("count", [1, 7, 40, 59, 60, 100])
def test_best_are_the_first_of_all_sorted(count: int) -> None:
    logits_QC = np.random.default_rng(0).integers(-4, 4, (20, 3)).astype(np.float64)  # many are equal
    row, class_id, logit = best(logits_QC, count)
    wanted = np.argsort(-logits_QC.ravel(), kind="stable")[:count]
    assert (row * 3 + class_id).tolist() == wanted.tolist()
    assert logit.tolist() == logits_QC.ravel()[wanted].tolist()
