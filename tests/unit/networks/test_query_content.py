"""DINO's queries begin as vectors for each rank, or as their tokens, whose order then does not matter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from espalier.layers.deformable_transformer import best_tokens
from espalier.networks import card as cards
from espalier.networks import registry
from espalier.networks.dino import model as dino
from espalier.networks.dino.model import Dino
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve


def detector(query_content: str) -> Dino:
    asked = {"network": {"name": "dino", "preset": "tiny", "query_content": query_content}}
    spec = resolve(load_spec(asked, lookup=registry.entry), Facts(n_train=2, classes=("red", "green")))[0].network
    assert spec is not None
    torch.manual_seed(0)
    model = cards.build(registry.get("dino"), spec, ("red", "green"))
    assert isinstance(model, Dino)
    return model.eval()


def other_way_round(score_BN: Tensor, count: int) -> Tensor:
    return best_tokens(score_BN, count).flip(1)


@pytest.mark.parametrize(("query_content", "steady"), [("token", True), ("learnt", False)])
def test_tokens_that_change_places_change_no_answer_of_queries_that_begin_as_tokens(
    query_content: str, steady: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = detector(query_content)
    inputs = {"image": torch.randn(1, 3, 96, 96), "valid_hw": torch.tensor([[96, 96]])}
    with torch.no_grad():
        said = model(**inputs)
        monkeypatch.setattr(dino, "best_tokens", other_way_round)
        swapped = {name: value.flip(1) for name, value in model(**inputs).items()}
    near = [torch.allclose(said[name], swapped[name], atol=1e-5) for name in ("logits", "boxes")]
    assert all(near) == steady


def test_queries_that_begin_as_tokens_have_nothing_to_learn_for_a_rank_and_teach_the_encoder_through_its_own_loss() -> (
    None
):
    model = detector("token")
    assert "selection.content.weight" in detector("learnt").state_dict()
    assert "selection.content.weight" not in model.state_dict()
    said, chosen = model.decoded(model.encode(torch.randn(1, 3, 96, 96), torch.tensor([[96, 96]])), None)
    assert not chosen.content_BQC.requires_grad
    assert said[-1].logits_BQC.requires_grad
