"""What one picture counts, against counts made the slow way."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.tasks.segmentation import counts

Maps = tuple[np.ndarray, np.ndarray]


def maps(classes: int, *, unknown: bool, size_hw: tuple[int, int] = (60, 80)) -> Maps:
    """Blocks, and an answer that is wrong here and there."""
    rng = np.random.default_rng(classes)
    dtype = np.uint8 if classes <= 255 else np.uint16
    coarse = rng.integers(0, classes, (6, 8))
    truth = np.repeat(np.repeat(coarse, 10, 0), 10, 1)[: size_hw[0], : size_hw[1]].astype(dtype)
    said = np.roll(truth, 3, axis=1)
    said[20:25] = rng.integers(0, classes)
    if unknown:
        truth[5:15, 30:60] = np.iinfo(dtype).max
    return said, truth


def parted(found: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    return found[: classes * classes].reshape(classes, classes), found[classes * classes :].reshape(3, classes)


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("classes", [2, 5, 70, 300])
def test_the_confusion_is_every_known_pixels(classes: int, unknown: bool) -> None:
    said, truth = maps(classes, unknown=unknown)
    confusion, _ = parted(counts.Counter(classes)(said, truth), classes)
    wanted = np.zeros((classes, classes), int)
    for t, s in zip(truth.ravel().tolist(), said.ravel().tolist(), strict=True):
        if t < classes:
            wanted[t, s] += 1
    assert confusion.tolist() == wanted.tolist()


def official_rim(mask: np.ndarray, reach: int) -> np.ndarray:
    """Cheng et al.'s mask_to_boundary, by their paper: the mask less its erosion, the outside being no mask."""
    import cv2

    padded = np.pad(mask.astype(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=reach)[1:-1, 1:-1]
    return np.asarray(mask & (inner == 0))


@pytest.mark.parametrize("classes", [2, 5, 70])
def test_rims_are_those_of_each_class_alone(classes: int) -> None:
    said, truth = maps(classes, unknown=False)
    _, (truth_C, said_C, both_C) = parted(counts.Counter(classes)(said, truth), classes)
    reach = counts.rim_px(truth.shape)
    assert reach == 2
    for c in range(classes):
        one, other = official_rim(truth == c, reach), official_rim(said == c, reach)
        assert (truth_C[c], said_C[c], both_C[c]) == (one.sum(), other.sum(), (one & other).sum())


def test_no_rim_runs_along_what_is_unknown() -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[40:60, 40:60] = 255
    found = counts.Counter(2)(np.zeros_like(truth), truth)
    _, (truth_C, said_C, both_C) = parted(found, 2)
    frame = 100 * 100 - 94 * 94
    assert [truth_C[0], said_C[0], both_C[0]] == [frame] * 3


def test_nothing_known_counts_nothing_and_other_sizes_are_refused() -> None:
    assert not counts.Counter(3)(np.zeros((5, 5), np.uint8), np.full((5, 5), 255, np.uint8)).any()
    with pytest.raises(ValueError, match="can't be compared"):
        counts.Counter(3)(np.zeros((5, 5), np.uint8), np.zeros((5, 6), np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])  # counted in two ways
def test_ids_beyond_the_classes_count_nowhere(dtype: type[np.unsignedinteger]) -> None:
    truth, said = np.array([[0, 1], [1, 7]], dtype), np.array([[0, 0], [4, 2]], dtype)
    confusion, (truth_C, said_C, _) = parted(counts.Counter(3)(said, truth), 3)
    assert confusion.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert (truth_C.sum(), said_C.sum()) == (2, 2)
