"""Published GC-ViT classifiers."""

from __future__ import annotations

from torch import Tensor

from espalier.backbones.families.gc_vit import FAMILY
from espalier.backbones.families.gc_vit.official import official_name
from espalier.networks.classifier.model import Classifier
from parity.classifier import ClassifierFamily, FeatureRule


def _same(map_BHWC: Tensor, _shape: tuple[int, ...]) -> Tensor:
    return map_BHWC


def _smaller(given: tuple[Tensor, Tensor], _shape: tuple[int, ...]) -> Tensor:
    return given[0]


def _with_window_axis(query_BhNd: Tensor, _shape: tuple[int, ...]) -> Tensor:
    return query_BhNd[:, None]


def _indices(classifier: Classifier) -> dict[str, tuple[int, ...]]:
    """Published files keep the index of each attention's distances; ours computes it."""
    buffers = dict(classifier.backbone.named_buffers())
    own = {name.removesuffix("index_NN"): tuple(value.shape) for name, value in buffers.items() if "index_NN" in name}
    return {f"{official_name(at)}relative_position_index": shape for at, shape in own.items()}


CHECKER = ClassifierFamily(
    FAMILY,
    prefix="gc_vit_",
    official_name=official_name,
    features=(
        FeatureRule(r"patch_embed", "stem", _same),
        FeatureRule(r"levels\.(\d+)\.blocks\.(\d+)", r"levels.\1.blocks.\2", _same),
        FeatureRule(r"levels\.(\d+)\.q_global_gen", r"levels.\1.query", _with_window_axis),
        FeatureRule(r"levels\.([012])(\.downsample)?", r"downs.\1", _smaller),  # with which a published level ends
        FeatureRule(r"levels\.3", "levels.3", _same),
        FeatureRule(r"norm", "norm", _same),
    ),
    derived=_indices,
)
