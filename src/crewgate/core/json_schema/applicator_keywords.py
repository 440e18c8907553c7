"""The keywords that apply schemas to a value or to its parts (JSON Schema 2020-12, "Core", 10).

The maker of a keyword gets the schema that has it, and a compiler for the schemas below. It returns
a check as in `assertion_keywords`, or raises ValueError.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from crewgate.core.json_schema.assertion_keywords import Check, matches
from crewgate.core.json_schema.exact_names import ExactNames
from crewgate.core.json_schema.failure import (
    NOT_ALLOWED,
    Failure,
    all_failed,
    must_be,
)
from crewgate.core.json_schema.json_values import JSONValue
from crewgate.core.json_schema.regex_automaton import RegexAutomaton
from crewgate.core.json_schema.work_budget import WorkBudget

Schema = Mapping[str, JSONValue]


class Subschema(Protocol):
    """A schema below another one."""

    @property
    def is_false(self) -> bool:
        """Whether it is the schema `false`, which nothing fits."""

    def failure(self, value: JSONValue, work: WorkBudget) -> Failure | None:
        """Return why a value does not fit."""


class Compiler(Protocol):
    """Compiles the schemas below one schema. `steps` lead from that schema to the one below."""

    def below(self, given: JSONValue, *steps: str) -> Subschema:
        """Return the schema; raise ValueError."""

    def automaton(self, given: JSONValue, *steps: str) -> RegexAutomaton:
        """Return the automaton of a regular expression; raise ValueError."""


def all_of(schema: Schema, compiler: Compiler) -> Check:
    """`allOf`: the value fits each schema."""
    options = _list("allOf", schema, compiler)

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        for option in options:
            found = option.failure(value, work)
            if found is not None:
                return found
        return None

    return check


def any_of(schema: Schema, compiler: Compiler) -> Check:
    """`anyOf`: the value fits at least one schema."""
    options = _list("anyOf", schema, compiler)

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        failures = []
        for option in options:
            found = option.failure(value, work)
            if found is None:
                return None
            failures.append(found)
        return all_failed(failures)

    return check


def one_of(schema: Schema, compiler: Compiler) -> Check:
    """`oneOf`: the value fits exactly one schema."""
    options = _list("oneOf", schema, compiler)

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        found = [option.failure(value, work) for option in options]
        failures = [each for each in found if each is not None]
        if len(failures) == len(options):
            return all_failed(failures)
        if len(failures) < len(options) - 1:
            return must_be(value, "of one of the allowed forms, and not of several")
        return None

    return check


def negation(schema: Schema, compiler: Compiler) -> Check:
    """`not`: the value does not fit the schema."""
    option = compiler.below(schema["not"], "not")

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        if option.failure(value, work) is not None:
            return None
        return Failure("has a form that is not allowed; send another value")

    return check


def condition(schema: Schema, compiler: Compiler) -> Check:
    """`if`, `then` and `else`: the value fits `then` if it fits `if`, else it fits `else`."""
    test = compiler.below(schema["if"], "if")
    then, otherwise = (compiler.below(schema.get(name, True), name) for name in ("then", "else"))

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        following = then if test.failure(value, work) is None else otherwise
        return following.failure(value, work)

    return check


def items(schema: Schema, compiler: Compiler) -> Check:
    """`prefixItems` and `items`: the first items fit these schemas, each further one fits that."""
    first = _list("prefixItems", schema, compiler) if "prefixItems" in schema else ()
    further = compiler.below(schema.get("items", True), "items")

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        if not isinstance(value, list):
            return None
        for number, item in enumerate(value):
            option = first[number] if number < len(first) else further
            found = _of_part(option, item, work)
            if found is not None:
                return found.below(str(number))
        return None

    return check


def property_names(schema: Schema, compiler: Compiler) -> Check:
    """`propertyNames`: the name of each member fits the schema."""
    option = compiler.below(schema["propertyNames"], "propertyNames")

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        for name in value if isinstance(value, dict) else ():
            if option.failure(name, work) is not None:
                return Failure("has a name that is not allowed; leave it out", (name,))
        return None

    return check


def properties(schema: Schema, compiler: Compiler) -> Check:
    """`properties`, `patternProperties`, `additionalProperties`: each member fits its schemas."""
    named = {
        name: compiler.below(below, "properties", name)
        for name, below in _mapping("properties", schema)
    }
    by_pattern = [
        (
            compiler.automaton(text, "patternProperties", text),
            compiler.below(below, "patternProperties", text),
        )
        for text, below in _mapping("patternProperties", schema)
    ]
    further = compiler.below(schema.get("additionalProperties", True), "additionalProperties")

    def options(name: str, work: WorkBudget) -> Iterator[Subschema]:
        is_known = name in named
        if is_known:
            yield named[name]
        for regex, option in by_pattern:
            if matches(regex, name, work):
                is_known = True
                yield option
        if not is_known:
            yield further

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        for name in value if isinstance(value, dict) else ():
            for option in options(name, work):
                found = _of_part(option, value[name], work)
                if found is not None:
                    return found.below(name)
        return None

    return check


def exact_names(schema: Schema) -> Iterator[Check]:
    """Yield the check of the names in a schema whose other keywords are known to be good."""
    names = ExactNames({*schema.get("properties", ()), *schema.get("required", ())})

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        if isinstance(value, dict):
            names.check(value, work)
        return None

    if names:
        yield check


def _of_part(option: Subschema, part: JSONValue, work: WorkBudget) -> Failure | None:
    return NOT_ALLOWED if option.is_false else option.failure(part, work)


def _list(key: str, schema: Schema, compiler: Compiler) -> tuple[Subschema, ...]:
    given = schema[key]
    if not isinstance(given, list) or not given:
        raise ValueError("expected a list of schemas")
    return tuple(compiler.below(each, key, str(number)) for number, each in enumerate(given))


def _mapping(key: str, schema: Schema) -> list[tuple[str, JSONValue]]:
    given = schema.get(key, {})
    if not isinstance(given, dict):
        raise ValueError("expected an object with a schema for each name")  # noqa: TRY004 - as all
    return list(given.items())
