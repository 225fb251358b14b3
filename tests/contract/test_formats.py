"""The same questions to every data format that is found."""

from __future__ import annotations

import json
import re
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from espalier import storage
from espalier.data import convert
from espalier.data.check import check
from espalier.data.formats import detect, formats, get, read_index, read_splits
from espalier.data.formats.base import Place
from espalier.data.index import Index, assemble
from espalier.data.segments import Segments
from espalier.errors import DataError, EspalierError
from espalier.vision.mask_file import MaskFile, MaskValues

NAMES = sorted(formats())
LABEL_FILES = {"csv": "labels.csv", "coco": "train.json", "yolo": "labels/s0/Ä 0.txt",
               "voc": "Annotations/s0_Ä 0.xml", "kitti": "label_2/s0_Ä 0.txt",
               "cvat": "annotations.xml", "label_studio": "label_studio.json"}  # fmt: skip
"""The file that gets damaged, in what the format writes."""
WHOLE = frozenset({"yolo", "voc", "kitti"})
"""Formats that are read as a folder, since one label file is not all."""
SMALL = settings(
    max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SMALLER = settings(SMALL, max_examples=60)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(6):
        (root / f"s{number % 2}").mkdir(exist_ok=True)
        pixels = rng.integers(0, 255, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"s{number % 2}" / f"Ä {number}.png")
    return root


def plain(root: Path, names: list[str] | None = None, *, form: str = "folders") -> Index:
    """Six pictures with one label each, boxed where the format's labels are: what every format can hold."""
    paths = names or [f"s{n % 2}/Ä {n}.png" for n in range(6)]
    if "mask" in get(form).holds:
        return masked(root, paths)
    boxes = np.array([[n, 1, n + 2.5, 9] for n in range(6)], np.float32)
    return assemble(root=str(root), source=str(root), format="made", paths=paths, classes=["bär", "crow", "dog,wild"],
                    image_row=np.arange(6), class_id=np.arange(6) % 3,
                    box_xyxy=None if "label" in get(form).holds else boxes)  # fmt: skip


def masked(root: Path, paths: list[str]) -> Index:
    """The same with a mask for each picture: the upper rows are of its class, and nothing is known of the others."""
    (root / "masks").mkdir(exist_ok=True)
    files = []
    for n in range(6):
        mask_HW = np.full((20 + n, 30), 255, np.uint8)
        mask_HW[: 5 + n] = n % 3
        Image.fromarray(mask_HW).save(root / "masks" / f"{n}.png")
        values = MaskValues(((0, 0), (1, 1), (2, 2), (255, -1)), 3)
        files.append(MaskFile(str(root / "masks" / f"{n}.png"), (20 + n, 30), values))
    return assemble(root=str(root), source=str(root), format="made", paths=paths, classes=["bär", "crow", "dog,wild"],
                    image_row=np.arange(6), class_id=np.arange(6) % 3, masks=files)  # fmt: skip


def rich(root: Path) -> Index:
    """Boxes, a polygon, an RLE, a crowd, a picture without labels, groups, ids with gaps."""
    segments = Segments.of([b"[[1, 1, 9, 1, 9, 9]]", b"", b'{"size": [22, 30], "counts": [0, 10, 650]}', b""])
    return assemble(
        root=str(root), source=str(root), format="made", paths=[f"s{n % 2}/Ä {n}.png" for n in range(6)],
        classes=["a", "b"], class_ids=np.array([7, 90]),
        image_row=np.array([0, 0, 2, 5]), class_id=np.array([0, 1, 1, 0]),
        box_xyxy=np.array([[1, 1, 9, 9], [0.25, 2, 5.5, 6], [0, 0, 1, 10], [3, 3, 4, 5]], np.float32),
        is_crowd=np.array([False, False, True, False]), segments=segments, annotation_id=np.array([10, 11, 40, 41]),
        image_id=np.array([100, 101, 205, 300, 301, 999]), group=["x", "x", "y", "y", "", "z"],
        size_hw=np.array([[20 + n, 30] for n in range(6)], np.int32),
    )  # fmt: skip


def objects(root: Path) -> Index:
    """What every format of boxes holds: boxes, one with an outline, and pictures without any."""
    outline = b"[[2, 3, 12, 3, 12, 13.5, 2, 13.5]]"
    return assemble(
        root=str(root), source=str(root), format="made", paths=[f"s{n % 2}/Ä {n}.png" for n in range(6)],
        classes=["a", "b"], image_row=np.array([0, 0, 2, 5]), class_id=np.array([0, 1, 1, 0]),
        box_xyxy=np.array([[2, 3, 12, 13.5], [0.25, 2, 5.5, 6], [0, 0, 1, 10], [3, 3, 30, 25]], np.float32),
        segments=Segments.of([outline, b"", b"", b""]),
    )  # fmt: skip


def near(a: dict[bytes, tuple[object, ...]], b: dict[bytes, tuple[object, ...]]) -> bool:
    """Are the labels the same, boxes to a thousandth of a pixel?"""
    same = a.keys() == b.keys() and all(len(a[key]) == len(b[key]) for key in a)
    return same and all(
        one[0] == other[0] and one[1:] == pytest.approx(other[1:], abs=2e-3)  # type: ignore[index]
        for key in a
        for one, other in zip(a[key], b[key])
    )


def by_content(index: Index) -> dict[bytes, tuple[object, ...]]:
    """Picture file → its labels by name, whatever its path is now."""
    return {
        Path(index.path(row)).read_bytes(): tuple(
            sorted(
                (index.classes[c], *np.nan_to_num(box, nan=-1).round(3).tolist())
                for c, box in zip(index.annotations(row).class_id, index.annotations(row).box_xyxy)
            )
        )
        for row in range(len(index))
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    form = get(name)
    assert form.name == name
    assert form.help
    assert form.holds <= {"label", "box", "polygon", "rle", "mask"}


@pytest.mark.parametrize("name", NAMES)
def test_what_it_writes_it_recognises_and_reads_back(name: str, pictures: Path, tmp_path: Path) -> None:
    source = plain(pictures, form=name)
    losses = convert.write({"train": source}, tmp_path / "out", format=name)
    assert losses == ()
    assert detect(Place(str(tmp_path / "out"))).name == name
    found = read_index(str(tmp_path / "out"))
    assert found.classes == source.classes
    assert by_content(found) == by_content(source)
    assert found.fingerprint() == read_index(str(tmp_path / "out"), format=name).fingerprint()


@pytest.mark.parametrize("name", NAMES)
def test_splits_come_back_as_splits_with_the_same_classes(name: str, pictures: Path, tmp_path: Path) -> None:
    whole = plain(pictures, form=name)
    parts = {"train": whole.subset([0, 1, 2, 3]), "val": whole.subset([4]), "test": whole.subset([5])}
    convert.write(parts, tmp_path / "out", format=name)
    found = read_splits(str(tmp_path / "out"))
    assert list(found) == ["train", "val", "test"]
    assert {index.classes for index in found.values()} == {whole.classes}
    for split, index in found.items():
        assert by_content(index) == by_content(parts[split])
    with pytest.raises(DataError, match="its parts are: train, val, test"):
        read_index(str(tmp_path / "out"))
    assert len(read_index(str(tmp_path / "out"), split="val")) == 1


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_hold_is_told(name: str, pictures: Path, tmp_path: Path) -> None:
    source = rich(pictures)
    losses = convert.write({"train": source}, tmp_path / "out", format=name)
    found = read_index(str(tmp_path / "out"))
    told = " ".join(loss.what for loss in losses)
    for kind, words in (
        ("box", "boxes"),
        ("polygon", "outlines"),
        ("rle", "outlines|masks|crowds"),
        ("label", "without a box"),
    ):
        assert kind in found.kinds or kind not in source.kinds or re.search(words, told), kind
    assert (found.group is not None) or ("groups" in told)
    assert found.is_crowd.sum() == 1 or "crowds" in told or "boxes" in told
    assert len(found) == 6 or "without a label" in told
    assert found.classes == source.classes or "class" in told or "without a label" in told
    if not losses:
        assert by_content(found) == by_content(source)
        assert found.segments[2] == source.segments[2]
        assert found.class_ids.tolist() == [7, 90]
        assert found.annotation_id.tolist() == [10, 11, 40, 41]
        assert found.image_id.tolist() == source.image_id.tolist()
        assert found.is_crowd.tolist() == [False, False, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_ignored_regions_come_back_or_are_told(name: str, pictures: Path, tmp_path: Path) -> None:
    regions = np.array([np.zeros((0, 4), np.float32), np.array([[2, 2, 8, 9]], np.float32)] + [None] * 4, np.object_)
    regions[2:] = [regions[0]] * 4
    source = replace(plain(pictures, form=name), ignored=regions)
    losses = convert.write({"train": source}, tmp_path / "out", format=name)
    found = read_index(str(tmp_path / "out"))
    if any("ignored regions" in loss.what for loss in losses):
        assert found.ignored is None
    else:
        assert [found.ignored_xyxy(row).tolist() for row in range(6)].count([[2, 2, 8, 9]]) == 1
        assert found.fingerprint() != replace(found, ignored=None).fingerprint()


@pytest.mark.parametrize("name", NAMES)
def test_what_pictures_were_labelled_for_comes_back(name: str, pictures: Path, tmp_path: Path) -> None:
    source = plain(pictures, form=name).labelled_for(["dog,wild"], [2, 3])
    assert convert.write({"train": source}, tmp_path / "out", format=name) == ()
    found = read_index(str(tmp_path / "out"))
    assert detect(Place(str(tmp_path / "out"))).name == name
    told = {Path(found.path(row)).read_bytes(): found.unlabelled_classes(row) for row in range(6)}
    assert told == {Path(source.path(row)).read_bytes(): source.unlabelled_classes(row) for row in range(6)}


@pytest.mark.parametrize("name", [name for name in NAMES if "box" in get(name).holds])
def test_boxes_outlines_and_empty_pictures_come_back(name: str, pictures: Path, tmp_path: Path) -> None:
    source = objects(pictures)
    losses = convert.write({"train": source}, tmp_path / "out", format=name)
    found = read_index(str(tmp_path / "out"))
    assert len(found) == 6
    assert found.classes == source.classes or any("class" in loss.what for loss in losses)
    assert near(by_content(found), by_content(source))
    if "polygon" in get(name).holds:
        assert [found.segments.kind(m) for m in range(4)].count("polygon") == 1
    again = convert.write({"train": found}, tmp_path / "again", format=name)
    assert sum(loss.count for loss in again if "annotation ids" not in loss.what) == 0, again
    assert near(by_content(read_index(str(tmp_path / "again"))), by_content(found))


@pytest.mark.parametrize("name", [name for name in NAMES if "box" in get(name).holds])
def test_the_checks_of_boxes_work(name: str, pictures: Path, tmp_path: Path) -> None:
    source = objects(pictures)
    boxes = source.box_xyxy.copy()
    boxes[0], boxes[1], boxes[3] = (5, 5, 5, 9), boxes[2], (20, 3, 55, 9)
    bad = replace(source, box_xyxy=boxes, class_id=np.array([0, 1, 1, 0]), segments=Segments.empty(4),
                  offsets=np.array([0, 1, 3, 3, 3, 3, 4]))  # fmt: skip
    convert.write({"train": bad}, tmp_path / "out", format=name)
    found = check(read_splits(str(tmp_path / "out"), strict=False)).findings
    wanted = {"zero-area-box": 1, "outside-box": 1, "duplicate-label": 1}
    assert {code: sum(f.code == code for f in found) for code in wanted} == wanted


@pytest.mark.parametrize("name", NAMES)
def test_odd_class_names_come_back_or_are_told(name: str, pictures: Path, tmp_path: Path) -> None:
    odd = replace(plain(pictures, form=name), classes=("a  b", "dog/cat & <mouse>", '"q": é'))
    losses = convert.write({"train": odd}, tmp_path / "out", format=name)
    found = read_index(str(tmp_path / "out"))
    assert set(found.classes) == set(odd.classes) or any("class" in loss.what for loss in losses)
    assert found.counts().sum() == 6


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_from_a_zip(name: str, pictures: Path, tmp_path: Path) -> None:
    convert.write({"train": plain(pictures, form=name)}, tmp_path / "out", format=name)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in (tmp_path / "out").rglob("*"):
            archive.write(file, file.relative_to(tmp_path / "out"))
    found = read_index(str(tmp_path / "set.zip"))
    assert len(found) == 6
    assert found.counts().tolist() == [2, 2, 2]
    assert found.fingerprint() == read_index(str(tmp_path / "out")).fingerprint()


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_from_an_address(name: str, pictures: Path, tmp_path: Path) -> None:
    import fsspec

    convert.write({"train": plain(pictures, form=name)}, tmp_path / "out", format=name)
    system = fsspec.filesystem("memory")
    for file in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        system.pipe_file(f"/{name}/{file.relative_to(tmp_path / 'out').as_posix()}", file.read_bytes())
    try:
        found = read_index(f"memory://{name}")
        assert detect(Place(f"memory://{name}")).name == name
        assert found.fingerprint() == read_index(str(tmp_path / "out")).fingerprint()
        assert len(storage.read_bytes(found.path(0))) > 0
    finally:
        system.rm(f"/{name}", recursive=True)


@pytest.mark.parametrize("name", NAMES)
def test_paths_that_would_leave_the_new_folder_stay_inside(name: str, pictures: Path, tmp_path: Path) -> None:
    names = [f"../{pictures.name}/s{n % 2}/Ä {n}.png" for n in range(6)]
    convert.write({"train": plain(pictures, names, form=name)}, tmp_path / "a" / "out", format=name)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["out"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    assert len(read_index(str(tmp_path / "a" / "out"))) == 6


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_and_a_missing_path_are_refused(name: str, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DataError) as told:
            read_index(str(path), format=name)
        assert str(path) in str(told.value)


def survives(path: Path, name: str) -> None:
    """Reading gives an Index that holds together, or an EspalierError; in little memory."""
    tracemalloc.start()
    try:
        for index in read_splits(str(path), format=name, strict=False).values():
            assert index.offsets[-1] == len(index.class_id)
            assert len(index.class_id) == 0 or index.class_id.max() < len(index.classes)
            index.fingerprint()
            index.picture_counts()
            for row in range(min(len(index), 20)):
                index.path(row)
                try:
                    index.annotations(row)
                except EspalierError:
                    continue
    except EspalierError:
        pass  # the right answer to nonsense
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 300e6


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    [
        "images",
        "annotations",
        "categories",
        "id",
        "image_id",
        "category_id",
        "bbox",
        "file_name",
        "segmentation",
        "name",
    ]
)
ITEM = st.dictionaries(WORDS, JSON | st.integers(-2, 3) | st.text(max_size=4), max_size=7)
COCO_LIKE = st.dictionaries(WORDS, st.lists(ITEM, max_size=5) | JSON, max_size=5)
CELL = st.text(max_size=6) | st.sampled_from(
    ["a.jpg", "1", "nan", "1e999", '"', "train", "x|y", "\x00", "\r", "../../x"]
)
TABLE = st.lists(st.lists(CELL, max_size=7), max_size=6)
HEADER = st.lists(
    st.sampled_from(["image", "label", "xmin", "ymin", "xmax", "ymax", "split", "group", "height", "width"]), max_size=9
)


@pytest.fixture(scope="module")
def written(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A rich data set in each format whose label files are to be damaged."""
    root = tmp_path_factory.mktemp("written")
    for name in LABEL_FILES:
        convert.write({"train": rich(pictures)}, root / name, format=name)
        assert (root / name / LABEL_FILES[name]).is_file()
    return {name: root / name for name in LABEL_FILES}


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The label files as they were written."""
    root = tmp_path_factory.mktemp("whole")
    for name in LABEL_FILES:
        convert.write({"train": rich(pictures)}, root / name, format=name)
    return {name: (root / name / file).read_bytes() for name, file in LABEL_FILES.items()}


def survives_content(written: dict[str, Path], name: str, content: bytes) -> None:
    """Reading what the format wrote survives other content in its label file."""
    file = written[name] / LABEL_FILES[name]
    file.write_bytes(content)
    survives(written[name] if name in WHOLE else file, name)


@pytest.mark.parametrize("name", sorted(LABEL_FILES))
@SMALLER
@given(content=st.binary(max_size=400))
def test_any_bytes(name: str, written: dict[str, Path], content: bytes) -> None:
    survives_content(written, name, content)


@SMALL
@given(value=COCO_LIKE)
def test_coco_like_json(tmp_path: Path, value: object) -> None:
    (tmp_path / "train.json").write_text(json.dumps(value), encoding="utf-8", errors="surrogatepass")
    survives(tmp_path / "train.json", "coco")


@SMALL
@given(header=HEADER, rows=TABLE, joint=st.sampled_from([",", ";", "\t"]))
def test_csv_like_text(tmp_path: Path, header: list[str], rows: list[list[str]], joint: str) -> None:
    text = "\n".join(joint.join(row) for row in [header, *rows])
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    survives(tmp_path / "labels.csv", "csv")


@SMALLER
@given(keep=st.integers(0, 10_000), place=st.integers(0, 10_000), byte=st.integers(0, 255))
@pytest.mark.parametrize("name", sorted(LABEL_FILES))
def test_damaged_files(
    written: dict[str, Path], whole: dict[str, bytes], name: str, keep: int, place: int, byte: int
) -> None:
    damaged = bytearray(whole[name])
    damaged[place % len(damaged)] = byte
    survives_content(written, name, bytes(damaged[: keep % (2 * len(damaged))]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("coco", b"[" * 1_000_000),
        ("coco", b'{"images": ' + b"[" * 900_000),
        ("coco", b'{"images": [' + b"{}," * 300_000 + b"{}]}"),
        ("coco", b'{"images":[{"id":1,"file_name":"a"}],"annotations":[{"image_id":1,"category_id":1,"segmentation":'
                 + b"[" * 500_000 + b"]" * 500_000 + b'}],"categories":[{"id":1,"name":"c"}]}'),
        ("coco", b'{"images":['
                 + b",".join(b'{"id":%d,"file_name":"%d","width":9999999}' % (n, n) for n in range(20_000))
                 + b'],"categories":[' + b",".join(b'{"id":%d,"name":"%d"}' % (n, n) for n in range(5_000)) + b"]}"),
        ("coco", b'{"images":[' + b'{"id":1e400,"file_name":"a"}' + b"]}"),
        ("csv", b"," * 1_000_000),
        ("csv", b"image,label\n" + b'"' * 1_000_000),
        ("csv", b"image,label\n" + b"a.jpg," + b"|".join(b"%d" % n for n in range(60_000))),
        ("csv", b"image,label\n" + b"\n".join(b"%d,%d" % (n, n) for n in range(70_000))),
        ("csv", b"image,label\n" + b"a" * 1_000_000 + b",b\n"),
        ("csv", b"\n" * 1_000_000),
        ("voc", b"<annotation>" + b"<a>" * 300_000),
        ("voc", b"<annotation a='" + b"x" * 1_000_000),
        ("voc", b"<annotation><filename>" + b"x" * 1_000_000 + b"</filename></annotation>"),
        ("voc", b'<!DOCTYPE a [<!ENTITY a "a">'
                + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a;" * 10) for n in range(9)) + b"]><a>&a8;</a>"),
        ("cvat", b"<annotations><meta>" + b"<labels>" * 120_000),
        ("cvat", b"<annotations><image name='a' width='9000' height='9000'><mask label='a' left='0' top='0' width='9' "
                 b"height='9' rle='" + b"1," * 400_000 + b"1'/></image></annotations>"),
        ("cvat", b"<annotations><image name='a' width='9000' height='9000'>"
                 + b"<mask label='a' left='0' top='0' width='6000' height='6000' rle='5,35999995'/>" * 2
                 + b"</image></annotations>"),
        ("cvat", b"<annotations><image name='a'><polygon label='a' points='" + b"1,1;" * 200_000 + b"1,1'/></image>"),
        ("label_studio", b"[" * 1_000_000),
        ("label_studio", b'[{"data":{"image":"a.png"},"annotations":[{"result":[{"type":"brushlabels",'
                         b'"original_width":9000,'
                         b'"original_height":7000,"value":{"brushlabels":["a"],"rle":[15,5,55,0,'
                         + b"255," * 240_000 + b"1]}}]}]}]"),
        ("label_studio", b'[{"data":' + b'{"a":' * 200_000),
        ("kitti", b"Car " * 250_000),
        ("kitti", b"DontCare 0 0 0 1 2 3 4 0 0 0 0 0 0 0\n" * 27_000),
        ("yolo", b"0 " * 500_000),
        ("yolo", b"9" * 1_000_000),
        ("yolo", b"\n" * 1_000_000),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)  # fmt: skip
def test_a_hostile_megabyte(written: dict[str, Path], name: str, content: bytes) -> None:
    survives_content(written, name, content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("voc", b"<annotation>" + b"<object/>" * 110_000 + b"</annotation>"),
        ("voc", b"<annotation>" + b"<object><name>a</name><bndbox><xmin>1</xmin></bndbox></object>" * 14_000),
        ("cvat", b"<annotations>" + b"<image/>" * 120_000 + b"</annotations>"),
        ("cvat", b"<annotations>" + b"<image name='a'><tag label='a'/></image>" * 25_000 + b"</annotations>"),
        ("cvat", b"<annotations><track label='a'>"
                 + b"".join(b"<box frame='%d' xtl='1' ytl='1' xbr='2' ybr='2'/>" % n for n in range(20_000))),
        ("label_studio",
         b"[" + b'{"data":{"image":"a.png"},"annotations":[{"result":[{}]}]},' * 16_000 + b"{}]"),
        ("label_studio", b"[" + b'{"data":{"image":"a.png"}},' * 40_000 + b"{}]"),
        ("kitti", b"Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0\n" * 30_000),
        ("kitti", b"".join(b"C%d 0 0 0 1 2 3 4 0 0 0 0 0 0 0\n" % n for n in range(26_000))),
        ("kitti", b"x\n" * 500_000),
        ("yolo", b"0 .5 .5 1 1\n" * 80_000),
        ("yolo", b"0 nan nan 1 1\n" * 70_000),
        ("yolo", b"".join(b"%d .5 .5 1 1\n" % n for n in range(60_000))),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)  # fmt: skip
def test_a_megabyte_of_many_items(written: dict[str, Path], name: str, content: bytes) -> None:
    survives_content(written, name, content)
