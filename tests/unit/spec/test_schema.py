from __future__ import annotations

import pytest

from espalier.errors import InputError
from espalier.spec.fields import Tunable
from espalier.spec.load import Lookup, spec_class
from espalier.spec.schema import fields, json_schema, tunable_fields
from espalier.spec.sections import Spec


def test_bounds_stand_where_the_numbers_are(lookup: Lookup) -> None:
    schema = json_schema(spec_class(lookup("dino").spec_class))
    train = schema["$defs"]["TrainSpec"]["properties"]
    assert train["epochs"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 100_000}
    assert train["epochs"]["unit"] == "epochs"
    assert train["momentum"]["exclusiveMaximum"] == 1
    assert train["lr"]["tunable"] == {"low": 1e-5, "high": 1e-2, "scale": "log"}
    size = schema["$defs"]["InputSpec"]["properties"]["size_hw"]["anyOf"][0]["prefixItems"]
    assert size == [{"type": "integer", "minimum": 1, "maximum": 16384}] * 2
    assert schema["$defs"]["TinySpec"]["properties"]["queries"]["maximum"] == 2000
    assert "bounds" not in str(schema)
    assert schema["additionalProperties"] is False


def test_one_section() -> None:
    assert "opset" in json_schema(Spec, "export")["properties"]
    with pytest.raises(InputError, match="no section 'name'; its sections are: network, data"):
        json_schema(Spec, "name")


def test_every_field_has_words_and_every_number_a_range_or_a_reason() -> None:
    for field in fields(Spec):
        assert field.description, field.path


def test_tunable(lookup: Lookup) -> None:
    found = {field.path: field.tunable for field in tunable_fields(spec_class(lookup("dino").spec_class))}
    assert found["network.queries"] == Tunable(10, 900, "log")
    assert found["train.batch_size"] == Tunable(scale="choice", choices=(8, 16, 32, 64))
    assert "train.epochs" not in found


def test_flags_are_short_names_used_once_a_section() -> None:
    seen = [(field.path.partition(".")[0], field.flag) for field in fields(Spec) if field.flag]
    assert len(seen) == len(set(seen))
    assert all(flag.startswith("--") for _, flag in seen)
