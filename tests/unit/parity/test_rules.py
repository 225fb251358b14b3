from __future__ import annotations

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from parity import rules
from parity.documents import Entry, Input
from parity.errors import CheckError


def drawn(name: str, *shape: int) -> NDArray[np.float64]:
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)


@pytest.mark.parametrize(
    ("name", "shape", "values"),
    [
        ("a.running_var", (3,), 1 + 0.1 * abs(drawn("a.running_var", 3))),
        ("a.weight", (3,), 1 + 0.1 * drawn("a.weight", 3)),
        ("blocks.0.gamma1", (3,), 1 + 0.1 * drawn("blocks.0.gamma1", 3)),
        ("weights.bias", (3,), 0.1 * drawn("weights.bias", 3)),
        ("a.running_mean", (3,), 0.1 * drawn("a.running_mean", 3)),
        ("a.temperature", (), 0.1 * drawn("a.temperature")),
        ("level_embed.weight", (4, 2), drawn("level_embed.weight", 4, 2)),
        ("level_embed", (4, 2), drawn("level_embed", 4, 2) / np.sqrt(2)),
        ("a.weight", (4, 2, 3, 3), drawn("a.weight", 4, 2, 3, 3) / np.sqrt(18)),
    ],
)
def test_the_fill_rule_follows_from_name_and_shape(
    name: str, shape: tuple[int, ...], values: NDArray[np.float64]
) -> None:
    filled = rules.fill(name, shape)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled, values.astype(np.float32))


def entry(name: str, *, same_as: str | None = None, filled: bool = True) -> Entry:
    return Entry(name=name, shape=(2, 3), dtype="float32", kind="param", same_as=same_as, filled=filled)


def test_a_shared_tensor_takes_the_value_of_its_other_name_and_unfilled_ones_none() -> None:
    filled = rules.fill_all([entry("b", same_as="a"), entry("a"), entry("index", filled=False)])
    assert set(filled) == {"a", "b"}
    assert filled["b"] is filled["a"]


def test_a_shared_tensor_must_be_there() -> None:
    with pytest.raises(CheckError, match="b shares a"):
        rules.fill_all([entry("b", same_as="a")])


def test_the_input_is_coarse_blocks_and_fine_noise() -> None:
    image_BCHW = rules.draw_input(Input(shape=(1, 2, 16, 24), seed=3, rule="espalier-input-1"))
    coarse = np.random.RandomState(3).standard_normal((1, 2, 8, 8))
    fine = np.random.RandomState(1003).standard_normal((1, 2, 16, 24))
    assert image_BCHW.dtype == np.float32
    assert image_BCHW[0, 1, 15, 4] == np.float32(coarse[0, 1, 7, 1] + 0.5 * fine[0, 1, 15, 4])


def test_an_image_is_zero_outside_its_valid_size() -> None:
    asked = Input(shape=(2, 1, 8, 8), seed=0, rule="espalier-input-1", valid_sizes=[(8, 8), (5, 6)])
    image_BCHW, padding_BHW = rules.draw_input(asked), rules.padding_mask(asked)
    assert not padding_BHW[0].any()
    assert padding_BHW[1].sum() == 64 - 30
    assert (image_BCHW[1, 0] == 0).sum() == 64 - 30
    assert (image_BCHW[0] != 0).all()


@pytest.mark.parametrize(
    "change", [{"rule": "espalier-input-2"}, {"valid_sizes": [(8, 8)]}, {"valid_sizes": [(8, 8), (9, 8)]}]
)
def test_an_input_that_no_rule_gives_is_refused(change: dict[str, object]) -> None:
    asked = Input(shape=(2, 1, 8, 8), seed=0, rule="espalier-input-1").model_copy(update=change)
    with pytest.raises(CheckError):
        rules.draw_input(asked)


def test_a_sample_is_evenly_spaced() -> None:
    np.testing.assert_array_equal(rules.sample(np.arange(10).reshape(2, 5), 4), [0, 2, 5, 7])
