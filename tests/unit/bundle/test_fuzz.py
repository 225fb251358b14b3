"""Whatever bundle.json holds: a manifest or a ModelError, quickly and in little memory."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espalier.bundle.bundle import Bundle
from espalier.bundle.manifest import from_text, to_text
from espalier.errors import ModelError

from .conftest import manifest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def places(value, path=()):
    """Every path in JSON data."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


VALID = json.loads(to_text(manifest()))
PLACES = [path for path in places(VALID) if path]


def replaced(path, new):
    copy = json.loads(json.dumps(VALID))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = new
    return copy


def test_round_trip():
    assert from_text(to_text(manifest()).encode(), "x") == manifest()


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(PLACES), value=json_values)
def test_one_value_replaced(path, value):
    data = json.dumps(replaced(path, value)).encode("utf-8", "surrogatepass")
    with contextlib.suppress(ModelError):
        from_text(data, "bundle.json").all_files()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | json_values.map(lambda v: json.dumps(v).encode("utf-8", "surrogatepass")))
def test_any_bytes(data):
    with pytest.raises(ModelError):
        from_text(data, "bundle.json")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PLACES), value=json_values)
def test_opening_and_asking(toy, path, value):
    (toy / "bundle.json").write_bytes(json.dumps(replaced(path, value)).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ModelError):
        bundle = Bundle.open(toy)
        bundle.golden()
        _ = bundle.prepare, bundle.decoder, bundle.artifact()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_one_byte_of_a_zip_changed(toy, position, byte):
    from espalier.bundle.bundle import write_zip

    path = toy.parent / "toy.zip"
    if not path.exists():
        write_zip(toy, path)
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] = byte
    spoilt = toy.parent / "spoilt.zip"
    spoilt.write_bytes(data)
    with contextlib.suppress(ModelError):
        Bundle.open(spoilt).golden()


def _zipped(path, text):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        '{"format_version":1,"files":[' + "{}," * 2_500_000 + "{}]}",
        '{"format_version":1,"files":[' + "{}," * 140_000 + "{}]}",
        '{"format_version":1,' + ",".join(f'"x{i}":0' for i in range(290_000)) + "}",
        '{"format_version":1,"classes":[' + "1," * 290_000 + "1]}",
        '{"format_version":1,"provenance":{"spec":{' + ",".join(f'"x{i}":[]' for i in range(140_000)) + "}}}",
    ],
    ids=["millions", "records", "unknown fields", "classes", "spec"],
)
def test_a_small_file_never_takes_much_memory(tmp_path, text):
    path = _zipped(tmp_path / "many.zip", text)
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(ModelError):
            Bundle.open(path)
        assert tracemalloc.get_traced_memory()[1] < 500_000_000
    finally:
        tracemalloc.stop()
