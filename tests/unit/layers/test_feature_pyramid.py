"""The feature pyramid against torchvision's, which has the same layers."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from espalier.layers.feature_pyramid import FeaturePyramid, enlarged

CHANNELS = (8, 12, 16)


def test_says_what_torchvisions_says() -> None:
    torch.manual_seed(0)
    ours = FeaturePyramid(CHANNELS, 6, levels=5)
    theirs = FeaturePyramidNetwork(list(CHANNELS), 6, LastLevelP6P7(6, 6))
    for n in range(len(CHANNELS)):
        theirs.inner_blocks[n][0].load_state_dict(ours.lateral[n].state_dict())
        theirs.layer_blocks[n][0].load_state_dict(ours.smooth[n].state_dict())
    assert theirs.extra_blocks is not None
    theirs.extra_blocks.p6.load_state_dict(ours.coarser[0].state_dict())
    theirs.extra_blocks.p7.load_state_dict(ours.coarser[1].state_dict())
    maps = [torch.randn(2, c, 16 >> n, 20 >> n) for n, c in enumerate(CHANNELS)]
    wanted = theirs(OrderedDict((str(n), each) for n, each in enumerate(maps)))
    found = ours(maps)
    assert len(found) == 5
    for one, other in zip(found, wanted.values(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("cells", "finer"), [(3, 5), (4, 8), (7, 13)])
def test_enlarges_by_the_cell_that_holds_the_place(cells: int, finer: int) -> None:
    given = torch.arange(cells, dtype=torch.float32)[None, None, None]
    assert enlarged(given, (2, finer))[0, 0].tolist() == [[float(n * cells // finer) for n in range(finer)]] * 2
