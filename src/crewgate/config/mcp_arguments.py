"""The rules [[mcp.NAME.tool.TOOL.argument]]: which arguments a tool may be called with."""

import re
from typing import Annotated

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, Scope, TableSchema
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.core.json_schema.json_values import JSONValue, Number, from_toml, is_number
from crewgate.core.json_schema.schema_compiler import JSONSchema, compile_schema
from crewgate.core.mcp.arguments.argument_comparison import ArgumentComparison, CompiledComparison
from crewgate.core.mcp.arguments.folder_containment import check_folder
from crewgate.core.pricing.sources import pointer

_ANY_TEXT = re.compile(r"(?s:.+)")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{1,5})?")
_OF_TEXTS = ("matches", "not_matches", "under", "url_hosts")
_OF_NUMBERS = ("at_least", "at_most")
_COMPARISONS = ("one_of", *_OF_TEXTS, *_OF_NUMBERS, "length_at_most")


def _place(value: object) -> tuple[str, ...]:
    steps = pointer(values.string(value))
    if not steps:
        raise ValueError("it is the object with all arguments; name one of them")
    return steps


def _scalar(value: object) -> JSONValue:
    found = from_toml(value)
    if isinstance(found, list | dict) or (
        isinstance(found, str) and len(found) > limits.argument_text_chars_max
    ):
        raise ValueError
    return found


def _number(value: object) -> Number:
    found = from_toml(value)
    if not is_number(found):
        raise ValueError
    return found


def _folder(value: object) -> str:
    text = values.matching(_ANY_TEXT, limits.argument_text_chars_max)(value)
    check_folder(text)
    return text


def _listed(kind: ValueParser[JSONValue]) -> ValueParser[tuple[JSONValue, ...]]:
    return values.listed(kind, limits.argument_values_max, min_count=1)


_TEXT = values.pattern_text(
    f"a text of 1 to {limits.argument_text_chars_max} characters",
    _ANY_TEXT,
    limits.argument_text_chars_max,
)
_NUMBER = ValueParser("a number", _number, {"type": "number"})
_KEYS = {
    "at": Key(
        kind=ValueParser(
            'the place of an argument, such as "/path" or "/files/*/name", where "*" is every item '
            "of an array (RFC 6901)",
            _place,
        ),
        text="Argument that the rule is about.",
    ),
    "required": Key(kind=values.SWITCH, text="Refuse a call without the argument."),
    "forbidden": Key(kind=values.SWITCH, text="Refuse a call with the argument."),
    "one_of": Key(
        kind=_listed(
            ValueParser(
                "a text, a number, true or false",
                _scalar,
                {"type": ["string", "number", "boolean"]},
            )
        ),
        text="Values that the argument may have.",
        absent="any value",
    ),
    "matches": Key(
        kind=_listed(_TEXT),
        text='Texts that it may be; "*" stands for any characters.',
        absent="any text",
    ),
    "not_matches": Key(
        kind=_listed(_TEXT), text='Texts that it may not be; "*" as in `matches`.', absent="none"
    ),
    "under": Key(
        kind=_listed(
            ValueParser('a folder such as "/srv/data", or "." for relative paths', _folder)
        ),
        text='Folders that a path may be in; a path with ".." or escapes is refused.',
        absent="any path",
    ),
    "url_hosts": Key(
        kind=_listed(
            values.pattern_text(
                'a host such as "api.example.com", "*.example.com" or "api.example.com:8443"',
                _HOST,
                limits.argument_text_chars_max,
            )
        ),
        text="Hosts that an http or https URL may be for.",
        absent="any URL",
    ),
    "at_least": Key(kind=_NUMBER, text="Lowest number that it may be.", absent="no bound"),
    "at_most": Key(kind=_NUMBER, text="Highest number that it may be.", absent="no bound"),
    "length_at_most": Key(
        kind=values.integer(0, limits.tool_body_bytes_max),
        text="Characters of a text, or items of an array, that it may have.",
        absent="no bound",
    ),
}


class _ComparisonType(TableSchema[ArgumentComparison]):
    """A table with the place of an argument, and at least one key that says what it may be."""

    def read(self, section: TOMLTableReader, scope: Scope, **given: object) -> ArgumentComparison:
        """Read a rule, and note keys that contradict each other."""
        found = super().read(section, scope, **given)
        if section.has_no_problems:
            _check(section, found)
        return found


def _check(section: TOMLTableReader, rule: ArgumentComparison) -> None:
    keys = [key for key in _COMPARISONS if key in section.given]
    of_texts = [key for key in _OF_TEXTS if key in keys]
    of_numbers = [key for key in _OF_NUMBERS if key in keys]
    if rule.forbidden and (keys or "required" in section.given):
        section.problem("forbidden: no other key has an effect beside it; leave the others out")
    elif not (rule.forbidden or rule.required or keys):
        section.problem(f"no effect; add one of {', '.join(_COMPARISONS)}")
    elif of_texts and of_numbers:
        section.problem(
            f"{of_texts[0]}, {of_numbers[0]}: no value is both a text and a number; remove one"
        )
    elif _is_empty(rule.at_least, rule.at_most):
        section.problem("at_least: more than at_most, so no call would be allowed")
    else:
        try:
            CompiledComparison(rule)
        except ValueError as error:
            section.problem(f'matches or not_matches {error}: use fewer "*" in one text')


def _is_empty(low: Number | None, high: Number | None) -> bool:
    return low is not None and high is not None and low > high


ARGUMENT_COMPARISON = _ComparisonType(ArgumentComparison, _KEYS)


def _schema(value: object) -> JSONSchema:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - one kind of error for every bad value
    return compile_schema(from_toml(value))


ArgumentSchema = Annotated[
    JSONSchema,
    ValueParser("a JSON Schema (2020-12) as a table", _schema, {"type": "object"}),
]
