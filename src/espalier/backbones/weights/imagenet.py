"""The classes of ImageNet-1k in the order of published classifiers, from the labels that timm ships."""

from __future__ import annotations

from typing import Any


def class_names() -> tuple[str, ...]:
    """The 1000 names; two classes that share one are told apart by their WordNet ids. () where timm has no labels."""
    from timm.data.imagenet_info import ImageNetInfo

    try:
        info: Any = ImageNetInfo("imagenet-1k")
    except (AssertionError, OSError):  # a build of timm without its label files
        return ()
    names = [str(info.index_to_description(index)) for index in range(info.num_classes())]
    twice = {name for name in names if names.count(name) > 1}
    return tuple(
        f"{name} ({info.index_to_label_name(index)})" if name in twice else name for index, name in enumerate(names)
    )
