"""Cutting batches, and finding what fits."""

from __future__ import annotations

import pytest
import torch

from espalier.errors import MemoryExhaustedError
from espalier.layers.model import Batch
from espalier.trainer.batch_size import doubled, halve_until_fits, split


def batch(size: int = 5) -> Batch:
    boxes = [torch.zeros(n, 4) for n in (1, 7, 0, 3, 2)][:size]
    return Batch({"image": torch.arange(size)[:, None]}, {"box": boxes, "hot": torch.eye(size)}, list("abcde")[:size])


def test_split_keeps_every_item_once_with_its_share() -> None:
    parts = list(split(batch(), 2))
    assert [share for _, share in parts] == [3 / 5, 2 / 5]
    assert torch.cat([p.inputs["image"] for p, _ in parts]).flatten().tolist() == [0, 1, 2, 3, 4]
    assert [len(b) for p, _ in parts for b in p.targets["box"]] == [1, 7, 0, 3, 2]
    assert [n for p, _ in parts for n in p.names] == list("abcde")
    assert torch.equal(torch.cat([p.targets["hot"] for p, _ in parts]), torch.eye(5))


def test_more_parts_than_items_are_items() -> None:
    assert [p.size for p, _ in split(batch(2), 8)] == [1, 1]
    whole = batch()
    assert next(split(whole, 1)) == (whole, 1.0)


def test_halving_finds_what_fits() -> None:
    tried: list[int] = []

    def attempt(parts: int) -> None:
        tried.append(parts)
        if 12 / parts > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    assert halve_until_fits(attempt, 1, 12) == 4
    assert tried == [1, 2, 4]


def test_other_errors_pass_through() -> None:
    def attempt(parts: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        halve_until_fits(attempt, 1, 12)


def test_one_item_is_the_end() -> None:
    assert (doubled(1, 12), doubled(8, 12)) == (2, 12)
    with pytest.raises(MemoryExhaustedError, match="not even a batch of one"):
        doubled(12, 12)
