"""The report: whole, offline, and not to be broken by what is in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from espalier.actions.report import report
from espalier.blocks import Bars, Block, Curve, Figure, Gallery, Headline, Matrix, Picture, Series, Table, Text
from espalier.blocks import to_json as block_json
from espalier.errors import ModelError
from espalier.runs.report import figures, render_blocks, write_report
from espalier.runs.report.parse import block_of
from espalier.runs.report.paths import shortened
from espalier.runs.report.render import widths
from espalier.runs.run import Run
from espalier.spec.sections import Spec
from espalier.spec.verbs import ReportSpec

HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\u202e"
NAMES = ("oak", HOSTILE, "beech")
EVERY: tuple[Block, ...] = (
    Headline(HOSTILE, [Figure(HOSTILE, 0.9, 0.85, 0.94, "%", HOSTILE), Figure("loss", float("nan"))], HOSTILE),
    Curve(HOSTILE, HOSTILE, HOSTILE, [Series(HOSTILE, [1, 2, 3], [0.1, float("nan"), 0.3], [0, 0, 0], [1, 1, 1])]),
    Bars(HOSTILE, NAMES, [1, 2, float("nan")], [0, 1, 2], [2, 3, 4], HOSTILE, HOSTILE),
    Table(
        HOSTILE, ("a", HOSTILE), [[HOSTILE, 1], [None, Figure("p", 0.5, 0.4, 0.6, "%")], ["c", float("inf")]], HOSTILE
    ),
    Matrix(HOSTILE, NAMES, NAMES, [[5, 1, 0], [0, 3, 0], [0, 0, 0]], HOSTILE),
    Gallery(HOSTILE, [Picture("a.png", HOSTILE, "bad"), Picture(HOSTILE, HOSTILE, HOSTILE)], HOSTILE),
    Text(HOSTILE, HOSTILE),
    Text(HOSTILE, HOSTILE, code=True),
)


class Page(HTMLParser):
    """Every tag with its attributes, and whether they close in order."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.raw: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            self.raw[self._open[-1]] = data
        else:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(tmp_path / "a.png")
    return tmp_path


def test_hostile_names_stay_text(root: Path) -> None:
    page = Page(render_blocks(HOSTILE + "\udc80", EVERY, root))
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert any("<script>alert(1)</script>" in words for words in page.words)
    text = "".join(page.words)
    assert "\x00" not in text
    assert "\u202e" not in text


def test_the_policy_allows_only_what_is_in_the_page(root: Path) -> None:
    page = Page(render_blocks("t", EVERY, root))
    policy = next(str(m["content"]) for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert not any("style" in attributes for _, attributes in page.tags)


def test_nothing_is_fetched(root: Path) -> None:
    text = render_blocks("t", EVERY, root)
    assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?\s*(?:https?:)?//""", text)
    assert "@import" not in text


def test_pictures_are_thumbnails_of_files_in_the_folder_alone(tmp_path: Path) -> None:
    inside = tmp_path / "run"
    inside.mkdir()
    for place in (tmp_path / "secret.png", inside / "a.png"):
        Image.fromarray(np.zeros((1200, 600, 3), np.uint8)).save(place)
    (inside / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    paths = ["a.png", "../secret.png", str(tmp_path / "secret.png"), "link.png", "none.png", "broken.png", ".", "a\0b"]
    page = Page(render_blocks("t", [Gallery("g", [Picture(p, f"picture {p}") for p in paths])], inside))
    images = page.all("img")
    assert [image["alt"] for image in images] == ["picture a.png"]
    content = base64.b64decode(str(images[0]["src"]).split(",", 1)[1])
    with Image.open(BytesIO(content)) as image:
        assert image.size == (144, 288)
    assert sum("not in the run's folder" in words for words in page.words) == 7


@pytest.mark.parametrize("count", [1, 2, 12, 13, 100, 200, 201])
def test_a_matrix_of_any_size(count: int, tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(count)]
    counts = np.eye(count, dtype=int) * 9
    counts[0, -1] += 3
    text = render_blocks("t", [Matrix("m", names, names, counts.tolist())], tmp_path)
    page = Page(text)
    if count <= 12:
        assert len([a for a in page.all("td") if str(a.get("class")).startswith(("ok", "no"))]) == count * count
    elif count <= 200:
        cells = [a for a in page.all("rect") if str(a.get("class")).startswith(("ok", "no"))]
        assert len(cells) == count + 1
        assert f"class 0 → class {count - 1}: 3 (25 %)" in page.words
    if count > 12:
        assert "25.0\u202f% of the class" in page.words
    assert len(text) < 120_000


def test_numbers_are_as_people_write_them(tmp_path: Path) -> None:
    headline = Headline(
        "t", [Figure("accuracy", 0.9344, 0.885, 0.9671, "%"), Figure("gain", -0.012, -0.03, 0.006, "%")]
    )
    words = Page(render_blocks("t", [headline], tmp_path)).words
    assert "93.4\u202f%" in words
    assert "88.5–96.7\u202f%" in words
    assert "−3.0 to 0.6\u202f%" in words


def test_names_such_as_miou_keep_their_small_first_letter(tmp_path: Path) -> None:
    headline = Headline("how good", [Figure("mIoU", 0.9), Figure("mean Dice", 0.8)])
    page = Page(render_blocks("t", [headline, Table("mAP by class", ("class",), [["a"]])], tmp_path))
    names = [tag.get("class") for tag in page.all("div") if str(tag.get("class")).startswith("name")]
    assert names == ["name as-written", "name"]
    assert [tag.get("class") for tag in page.all("h3")] == [None, "as-written"]


def test_a_table_sorts_by_value(tmp_path: Path) -> None:
    rows = [["a", 0.5, Figure("p", 0.25, unit="%")], ["b", None, None], ["c", 1e-6, None]]
    page = Page(render_blocks("t", [Table("t", ("name", "x", "p"), rows)], tmp_path))
    keys = [cell.get("data-v") for cell in page.all("td")]
    assert keys == [None, "0.5", "0.25", None, None, None, None, "1e-06", None]
    assert "1e-06" in page.words


def test_many_points_are_thinned(tmp_path: Path) -> None:
    x = np.arange(50_000)
    text = render_blocks("t", [Curve("c", "step", "loss", [Series("loss", x, np.sin(x / 999.0))])], tmp_path)
    points = re.findall(r'<polyline points="([^"]*)"', text)
    assert [len(p.split()) for p in points] == [240]
    assert len(text) < 200_000


@pytest.mark.parametrize(
    "y", [[], [float("nan")] * 3, [5.0], [2.0, 2.0, 2.0], [0.0, 0.0], [1e-300, 1e300], [-1e308, 1e308]]
)
@pytest.mark.parametrize("log", [False, True])
def test_odd_curves(y: list[float], log: bool, tmp_path: Path) -> None:
    series = Series("a", list(range(len(y))), y)
    Page(render_blocks("t", [Curve("c", "x", "y", [series], log_x=log, log_y=log)], tmp_path))


def test_blocks_fill_their_lines() -> None:
    curve, table = EVERY[1], Table("t", ("a", "b", "c", "d"), [])
    assert widths([curve, curve, curve, table, curve]) == ["half", "half", "full", "full", "full"]


@pytest.mark.parametrize("block", EVERY, ids=lambda b: b.kind)
def test_blocks_come_back_from_a_file(block: Block, tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="fit") as run:
        run.block("result", block)
    raw = next(e for e in run.events() if e["kind"] == "block")["block"]
    back = block_of(raw, "here")
    assert back is not None
    assert render_blocks("t", [back], tmp_path) == render_blocks("t", [block], tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        5,
        {"kind": 5},
        {"kind": "curve"},
        {"kind": "table", "title": "t", "columns": ["a", "b"], "rows": [["x"]]},
        {"kind": "matrix", "title": "t", "rows": ["a"], "columns": ["a"], "counts": [[1, 2]]},
        {"kind": "bars", "title": "t", "names": ["a"], "values": ["many"]},
        {"kind": "headline", "title": "t", "figures": [{"name": "a", "value": {}}]},
        {"kind": "curve", "title": "", "x_label": "", "y_label": "", "series": [{"name": "a", "x": [1], "y": []}]},
        {"kind": "gallery", "title": "t", "pictures": [{"path": 3, "caption": "x"}]},
    ],
)
def test_a_damaged_block_is_one_clear_error(raw: Any, tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="fit") as run:
        run.emit("block", section="result", block=raw)
    with pytest.raises(ModelError, match=r"events\.jsonl:2"):
        write_report(tmp_path / "r")


def test_a_block_of_a_later_version_is_counted_not_fatal(tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="fit") as run:
        run.emit("block", section="result", block={"kind": "hologram"})
    assert "1 parts need a newer Espalier" in write_report(tmp_path / "r").read_text("utf-8")


def full_run(out: Path) -> Run:
    with Run.create("crowns", out=out, action="fit") as run:
        run.warn("3 pictures are rotated")
        run.say("612 photographs")
        run.emit("licence", name="lite0", licence="Apache-2.0", url="https://example.org/x", commercial=True)
        run.emit("data", pictures=612, classes=2)
        for step in range(1, 9):
            run.emit("step", step=step, epoch=step // 4, loss={"total": 1 / step}, lr=0.1, images_per_s=10)
        for epoch in (1, 2):
            run.emit("epoch", epoch=epoch, figures={"accuracy": 0.5 + epoch / 10})
        run.block("result", Headline("On 122 pictures", [Figure("accuracy", 0.1, 0.0, 0.2, "%")]))
        run.block("result", Headline("On 122 pictures", [Figure("accuracy", 0.934, 0.885, 0.967, "%")]))
        run.block("use", Text("How", "espalier predict bundle photo.jpg", code=True))
        run.block("mine", Text("", "of another section"))
        run.finish({})
    return run


def test_sections_come_in_the_order_of_the_page(tmp_path: Path) -> None:
    page = Page(write_report(full_run(tmp_path / "r").path).read_text("utf-8"))
    assert [s["id"] for s in page.all("section")] == ["result", "training", "data", "mine", "licences", "use"]
    assert [a["href"] for a in page.all("a")][1:] == [f"#{s['id']}" for s in page.all("section")]
    assert len(page.all("h1")) == 1


def test_the_last_word_counts(tmp_path: Path) -> None:
    text = write_report(full_run(tmp_path / "r").path).read_text("utf-8")
    assert "93.4\u202f%" in text
    assert "10.0\u202f%" not in text
    assert "<title>crowns · 93.4\u202f% · Espalier</title>" in text
    assert "3 pictures are rotated" in text


def test_trainings_in_one_run_are_told_apart(tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="fit") as run:
        for _ in range(2):
            for step in (1, 2):
                run.emit("step", step=step, loss={"total": 1.0 / step})
    words = Page(write_report(tmp_path / "r").read_text("utf-8")).words
    assert "training 1" in words
    assert "training 2" in words


def test_a_failed_and_a_killed_run_still_have_a_page(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Run.create("a", out=tmp_path / "f", action="train"):
        raise RuntimeError("<b>broken</b>")
    text = write_report(tmp_path / "f").read_text("utf-8")
    assert "The run failed" in text
    assert "&lt;b&gt;broken&lt;/b&gt;" in text
    Run.create("b", out=tmp_path / "k", action="train")
    (tmp_path / "k" / "events.jsonl").open("ab").write(b'{"kind":"st')
    assert "not finished" in write_report(tmp_path / "k").read_text("utf-8")


def test_a_page_written_on_the_way_is_brought_up_to_date(tmp_path: Path) -> None:
    with Run.create("a", out=tmp_path / "r", action="fit") as run:
        write_report(run.path)
        run.finish({})
    assert "not finished" not in (tmp_path / "r" / "report.html").read_text("utf-8")


def test_the_verb(tmp_path: Path) -> None:
    full_run(tmp_path / "r")
    spec = Spec(report=ReportSpec(run=str(tmp_path / "r"), title="For <us>"))
    with Run.nowhere("report") as run:
        assert report(spec, run) == {"report": str(tmp_path / "r" / "report.html")}
    assert "<h1>For &lt;us&gt;</h1>" in (tmp_path / "r" / "report.html").read_text("utf-8")
    with Run.nowhere("report") as run, pytest.raises(ModelError, match="is not a run"):
        report(Spec(report=ReportSpec(run=str(tmp_path))), run)


def test_block_json_is_json() -> None:
    for block in EVERY[:1]:
        assert json.loads(json.dumps(block_json(block)))["kind"] == block.kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bundle: /home/jo/runs/fit-001/bundle; 50 s", "bundle: …/fit-001/bundle; 50 s"),
        ("scoring on /home/jo/test: 3 pictures", "scoring on …/test: 3 pictures"),
        (r"C:\Users\jo\My photos\a.png", r"…/My photos\a.png"),
        ("https://example.org/a/b and s3://bucket/a/b", "https://example.org/a/b and s3://bucket/a/b"),
        ("crown/ground, width / height, a - b / n^power, 1/2", "crown/ground, width / height, a - b / n^power, 1/2"),
        ("photos/crown/a.png and ./a/b and ../a/b", "photos/crown/a.png and ./a/b and ../a/b"),
    ],
)
def test_paths_of_the_makers_machine_are_shortened(text: str, expected: str) -> None:
    assert shortened(text) == expected
    assert shortened({"a": [text, 1, None]}) == {"a": [expected, 1, None]}


def test_a_page_tells_no_path_and_no_fingerprint(tmp_path: Path) -> None:
    with Run.create("r", out=tmp_path / "r", action="train") as run:
        run.say("written to /home/jo/private/runs/r")
        run.note(parent="/home/jo/private/runs/first")
        run.emit("data", train={"pictures": 3, "groups": None, "fingerprint": "ab12"}, fingerprint="ab12")
        run.finish({})
    text = write_report(run.path).read_text("utf-8")
    assert "private" not in text
    assert "…/runs/first" in text
    assert "pictures: 3" in text
    assert "None" not in text
    assert "ab12" not in text


def test_a_difference_is_told_in_points() -> None:
    change = Figure("change of accuracy", 0.0444, -0.022, 0.111, "points")
    assert figures.value(change.value, change.unit) == "+4.4\u202fpoints"
    assert figures.interval(change) == "−2.2 to +11.1\u202fpoints"
