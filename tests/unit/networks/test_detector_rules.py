"""What no detector can do is told before anything is trained."""

from __future__ import annotations

import pytest

from espalier import backbones
from espalier.errors import SpecError
from espalier.networks.registry import entry
from espalier.spec.facts import Facts
from espalier.spec.load import load_spec
from espalier.spec.resolve import resolve


def resolved(name: str, *, encoder: str, finest_stride: int) -> None:
    backbone = {"name": encoder, "weights": "none"}
    network = {"name": name, "backbone": backbone, "finest_stride": finest_stride}
    if name != "fcos":
        network["queries"] = 50
    resolve(load_spec({"network": network}, lookup=entry), Facts(n_train=16, backbone=backbones.describe(encoder)))


@pytest.mark.parametrize("name", ["fcos", "dino", "deformable_detr"])
def test_a_stride_beyond_the_backbones_maps_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"timm/test_vit has no map of stride 32 px or more") as caught:
        resolved(name, encoder="timm/test_vit", finest_stride=32)
    assert "16 or less" in str(caught.value)
    resolved(name, encoder="timm/test_vit", finest_stride=16)
    resolved(name, encoder="timm/test_resnet", finest_stride=32)
