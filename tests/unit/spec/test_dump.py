from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espalier.spec.dump import to_yaml
from espalier.spec.load import Lookup, load_spec, spec_class
from espalier.spec.schema import fields


def test_comments_tell_every_field(lookup: Lookup) -> None:
    spec = load_spec({"network.name": "dino"}, lookup=lookup)
    text = to_yaml(spec, comments=True)
    assert load_spec(text, lookup=lookup) == spec
    words = " ".join(line.strip().lstrip("# ") for line in text.splitlines())
    for field in fields(spec_class(type(spec.network))):  # type: ignore[arg-type]
        assert field.description in words or field.is_section, field.path
    assert "queries: 300                     # Queries (integer, 1-2000)" in text
    assert max(map(len, text.splitlines())) <= 120


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    classes=st.lists(st.text().filter(str.strip), min_size=1, max_size=30, unique=True),
    path=st.none() | st.text(),
    lr=st.floats(1e-30, 10),
    scale=st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1)),
    comments=st.booleans(),
)
def test_round_trip(
    lookup: Lookup, classes: list[str], path: str | None, lr: float, scale: tuple[float, float], comments: bool
) -> None:
    values = {"data": {"classes": classes, "train": path}, "train": {"lr": lr, "augment": {"scale": scale}}}
    spec = load_spec({"network.name": "dino", **values}, lookup=lookup)
    assert spec.data.classes == tuple(classes)
    assert load_spec(to_yaml(spec, comments=comments), lookup=lookup) == spec
