"""A few pictures of many: those first on which there is something to score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espalier.data.formats import read_index
from espalier.data.samples import Samples
from espalier.tasks import base as tasks

BOX = {"bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0, "category_id": 1}
OUTLINE = {**BOX, "segmentation": [[1, 1, 5, 1, 5, 5]]}
CROWD = {**BOX, "iscrowd": 1}


def labels(folder: Path, objects: list[dict[str, object] | None]) -> str:
    """COCO labels of as many pictures, of which none is read."""
    pictures = [{"id": n, "file_name": f"{n:02d}.png", "width": 8, "height": 8} for n in range(len(objects))]
    rows = [{**one, "id": n + 1, "image_id": n} for n, one in enumerate(objects) if one is not None]
    file = folder / "labels.json"
    names = [{"id": 1, "name": "leaf"}]
    file.write_text(json.dumps({"images": pictures, "annotations": rows, "categories": names}))
    return str(file)


@pytest.mark.parametrize(
    ("task", "objects", "count", "names"),
    [
        ("detection", [BOX, BOX, OUTLINE, BOX, BOX], 2, ["00.png", "04.png"]),
        ("instance", [BOX, BOX, OUTLINE, BOX, BOX], 1, ["02.png"]),
        ("instance", [BOX, BOX, OUTLINE, BOX, None], 3, ["00.png", "02.png", "03.png"]),
        ("detection", [CROWD, None, CROWD, BOX, None], 1, ["03.png"]),
        ("detection", [CROWD, None, None, BOX, None], 3, ["00.png", "01.png", "03.png"]),
        ("detection", [None, None, None], 2, ["00.png", "02.png"]),
    ],
)
def test_what_can_be_scored_comes_first(
    task: str, objects: list[dict[str, object] | None], count: int, names: list[str], tmp_path: Path
) -> None:
    index = read_index(labels(tmp_path, objects), strict=False)
    found = Samples(index, tasks.get(task)).spread(count).index
    assert [found.name(row) for row in range(len(found))] == names
