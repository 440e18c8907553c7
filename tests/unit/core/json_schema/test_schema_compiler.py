"""JSON Schemas against the package jsonschema, with exact numbers, and within bounds."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_depth import deep

from crewgate import limits
from crewgate.core.json_schema.failure import Failure, UncheckableValueError
from crewgate.core.json_schema.json_values import decode, decode_document
from crewgate.core.json_schema.schema_compiler import SchemaError, compile_schema
from crewgate.core.json_schema.work_budget import WorkBudget

names = st.sampled_from(["a", "b", "cc"])
# Numbers that a float holds exactly, because jsonschema compares floats.
numbers = st.integers(-4, 4) | st.integers(-8, 8).map(lambda quarters: quarters / 4)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.sampled_from(["", "a", "ab", "cc", "b-1"]),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(names, parts, max_size=3),
    max_leaves=10,
)
sizes = st.integers(0, 4)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
patterns = st.sampled_from(["^a", "b$", "a|b", "^[ab]{2,}$", r"\d"])
leaves: dict[str, st.SearchStrategy[Any]] = {
    "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
    "enum": st.lists(values, min_size=1, max_size=3),
    "const": values,
    "minimum": numbers,
    "maximum": numbers,
    "exclusiveMinimum": numbers,
    "exclusiveMaximum": numbers,
    "multipleOf": st.sampled_from([0.25, 0.5, 1, 2, 1.5]),
    **dict.fromkeys(
        ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"], sizes
    ),
    "pattern": patterns,
    "uniqueItems": st.booleans(),
    "required": st.lists(names, max_size=2, unique=True),
}
references = st.sampled_from(["#/$defs/a", "#/$defs/b"])


def _branches(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(parts, min_size=1, max_size=3)
    by_name = st.dictionaries(names, parts, max_size=3)
    branches: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], several),
        **dict.fromkeys(["not", "items", "additionalProperties", "propertyNames", "if"], parts),
        "properties": by_name,
        "patternProperties": st.dictionaries(patterns, parts, max_size=2),
    }
    found = st.fixed_dictionaries({}, optional=branches)
    conditional = st.fixed_dictionaries({"if": parts}, optional={"then": parts, "else": parts})
    return st.booleans() | found | conditional


leaf = st.fixed_dictionaries({}, optional=leaves)
referring = st.fixed_dictionaries({}, optional={**leaves, "$ref": references})
definitions = st.recursive(leaf, _branches, max_leaves=4)
roots = st.builds(
    lambda root, first, second: {"allOf": [root], "$defs": {"a": first, "b": second}},
    st.recursive(referring, _branches, max_leaves=8),
    definitions,
    definitions,
)


def failure(schema: object, value: str) -> Failure | None:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    compiled = compile_schema(decode_document(text.encode()))
    return compiled.failure(decode(value.encode()), WorkBudget())


@settings(max_examples=deep(100))
@given(roots, values)
def test_it_decides_as_jsonschema_does(schema: dict[str, Any], value: Any) -> None:
    """A value fits exactly if it is valid for the package jsonschema."""
    expected = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (failure(schema, json.dumps(value)) is None) is expected


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ('{"const": 1}', "1.0", True),
        ('{"const": 1}', "1e0", True),
        ('{"const": 1}', "true", False),
        ('{"const": 100}', "1E+2", True),
        ('{"const": 0}', "-0.0", True),
        ('{"const": 9007199254740993}', "9007199254740992", False),
        ('{"const": 0.1}', "0.1000000000000000055511151231257827", False),
        ('{"type": "integer"}', "12345678901234567890123456789.000", True),
        ('{"type": "integer"}', "1e400", True),
        ('{"maximum": 10}', "10.00000000000000000000000001", False),
        ('{"exclusiveMinimum": 0}', "1e-400", True),
        ('{"multipleOf": 0.01}', "19.99", True),
        ('{"multipleOf": 1e-300}', "1e300", True),
        ('{"uniqueItems": true}', "[1, 1.0]", False),
        ('{"enum": [{"a": [1.50], "b": null}]}', '{"b": null, "a": [15e-1]}', True),
        ('{"maxLength": 1}', '"\\ud83d\\ude00"', True),  # one code point
        ('{"properties": {"a": {"$ref": "#"}}, "additionalProperties": false}',
         '{"a": {"a": {}}}', True),
        ('{"properties": {"a": {"$ref": "#"}}, "additionalProperties": false}',
         '{"a": {"a": {"b": 1}}}', False),
        ('{"$schema": "http://json-schema.org/draft-07/schema#"}', "1", True),
        ('{"$ref": "#/definitions/a~1b", "x-a": 1, "definitions": {"a/b": {"type": "null"}}}', "1",
         False),
    ],
)  # fmt: skip
def test_numbers_texts_and_references_are_exact(schema: str, value: str, fits: bool) -> None:
    """No number is rounded, and its form does not matter."""
    assert (failure(schema, value) is None) is fits


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        ('{"format": "uri"}', 'the gateway does not check "format"'),
        ('{"properties": {"a": {"unevaluatedItems": false}}}', "/properties/a: "),
        ('{"minimum": "1"}', "/minimum: expected a number"),
        ('{"minLength": 1.5}', "/minLength: "),
        ('{"required": {}}', "/required: "),
        ('{"type": "text"}', "/type: expected one or more of null, "),
        ('{"type": []}', "/type: "),
        ('{"enum": []}', "/enum: "),
        ('{"multipleOf": 0}', "/multipleOf: "),
        ('{"anyOf": []}', "/anyOf: "),
        ('{"items": [true]}', "/items: expected a schema"),
        ('{"not": {"pattern": "(?=a)"}}', "/not/pattern: a group other than"),
        ('{"patternProperties": {"(": true}}', "/patternProperties/(: "),
        ('{"properties": []}', "/properties: "),
        ('{"then": true}', 'no effect without "if"'),
        ('{"items": {"$defs": {}}}', "/items: move"),
        ('{"$ref": "#/properties/a"}', "/$ref: "),
        ('{"$ref": "other.json"}', "/$ref: "),
        ('{"$ref": ["#"]}', "/$ref: "),
        ('{"$schema": "http://json-schema.org/draft-04/schema#"}', "/$schema: unknown"),
        ('{"$ref": "#"}', "leads back to itself"),
        ('{"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}}',
         "leads back to itself"),
        ("[]", "expected a schema"),
        ('{"not":' * 60 + "true" + "}" * 60, "nested too deeply"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_checked_in_full_is_refused(schema: str, error: str) -> None:
    """Each mistake is reported with its place; a keyword without effect is a mistake."""
    with pytest.raises(SchemaError) as caught:
        compile_schema(decode_document(schema.encode()))
    assert error in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["{", '{"type": "null", "type": "string"}', '{"maximum": NaN}', '{"maximum": 1e999}',
     "\ufeff{}", '{"maximum": 0.' + "1" * 400 + "}", "[" * 100_000],
)  # fmt: skip
def test_a_document_that_parsers_could_read_in_two_ways_is_refused(text: str) -> None:
    """Duplicate members, NaN and endless numbers are errors."""
    with pytest.raises(ValueError, match=r"."):
        decode_document(text.encode())


_CHAIN = {
    f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}, {"$ref": f"#/$defs/d{n - 1}"}]}
    for n in range(1, 40)
}
_NESTED = '{"a":' * 60 + "1" + "}" * 60


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        # 2**39 ways through the options.
        ({"$ref": "#/$defs/d39", "$defs": {"d0": False, **_CHAIN}}, "1"),
        ({"items": {"type": "integer", "minimum": 0}}, f"[{','.join(['1'] * 20_000)}]"),
        ({"uniqueItems": True}, f"[{','.join(map(str, range(30_000)))}]"),
        ({"enum": [[]]}, f"[{','.join(['[]'] * 30_000)}]"),
        ({"pattern": "^a*$"}, f'"{"a" * 2**20}"'),
        ({"additionalProperties": {"type": "null"}},
         json.dumps(dict.fromkeys(map(str, range(20_000))))),
        ({"patternProperties": {"^a*b$": True}}, json.dumps({"a" * 2**20: 1})),
        ({"required": ["a"]}, json.dumps({"é" * 2**20: 1})),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"a": {"allOf": [{"anyOf": [
            {"$ref": "#/$defs/n"}]}]}}}}}, _NESTED),
    ],
)  # fmt: skip
def test_a_check_takes_a_bounded_number_of_steps(schema: object, value: str) -> None:
    """Neither the schema nor the value can make a check long; a value that tries is refused."""
    with pytest.raises(UncheckableValueError, match=r"too large|too deeply"):
        failure(schema, value)


def test_values_that_collide_do_not_slow_a_check() -> None:
    """Python's hash of an int is its rest by 2**61 - 1, so a set of these would take minutes."""
    colliding = ",".join(str(n * (2**61 - 1)) for n in range(1, limits.argument_steps_max // 2))
    assert failure({"uniqueItems": True}, f"[{colliding}]") is None


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ('{"to": 5}', 'The argument "to" is 5; it must be a string or null.'),
        ('{"mode": "z"}', 'The argument "mode" is "z"; it must be "r" or "w".'),
        ("{}", 'The argument "mode" is missing.'),
        ('{"mode": "r", "more": 1}', 'The argument "more" is not allowed; leave it out.'),
        ('{"mode": "r", "tags": ["a", 1]}', 'The argument "tags/1" is 1; it must be a string.'),
        ('{"mode": "r", "tags": []}',
         'The argument "tags" is an array with 0 items; it must be an array of at least 1 items.'),
        ("[]", "The object with all arguments is an array with 0 items; it must be an object."),
        (json.dumps({"mode": "\x1b[2J\u202e" + '"' * 200}),
         'The argument "mode" is "\\x1b[2J\\u202e' + '\\"' * 59 + '…"; it must be "r" or "w".'),
    ],
)  # fmt: skip
def test_a_failure_says_which_argument_and_what_is_allowed(value: str, sentence: str) -> None:
    """The sentence is for a model; it quotes a short, escaped piece of the argument."""
    schema = {
        "type": "object",
        "properties": {
            "mode": {"enum": ["r", "w"]},
            "to": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "tags": {"items": {"type": "string"}, "minItems": 1},
        },
        "additionalProperties": False,
        "required": ["mode"],
    }
    if "to" in value:
        del schema["required"]
    found = failure(schema, value)
    assert found is not None
    assert found.sentence == sentence


@pytest.mark.parametrize(
    "name", ["File_Path", "filePath", "FILE-PATH", "file_path\0x", "f\u0131le_path"]
)
@pytest.mark.parametrize("wraps", ["", "not"])
def test_a_name_that_some_servers_read_as_another_is_refused(name: str, wraps: str) -> None:
    """A schema about `file_path` says nothing of the members that a server takes for it."""
    schema: dict[str, object] = {"properties": {"file_path": {"const": "x"}}}
    schema = {wraps: schema} if wraps else schema
    with pytest.raises(UncheckableValueError, match="some servers read"):
        failure(schema, json.dumps({"file_path": "x", name: "/etc/passwd"}))
