"""Compiles a JSON Schema into checks, and refuses each keyword that has no check.

A schema that a gateway cannot evaluate in full would seem stricter than it is. So only keywords
that describe a schema for people may be without effect.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

from crewgate import limits
from crewgate.core.json_schema import applicator_keywords as applicators
from crewgate.core.json_schema import assertion_keywords as assertions
from crewgate.core.json_schema.applicator_keywords import Compiler, Schema
from crewgate.core.json_schema.assertion_keywords import Check
from crewgate.core.json_schema.failure import NOT_ALLOWED, Failure
from crewgate.core.json_schema.json_values import JSONValue
from crewgate.core.json_schema.regex_automaton import CompileBudget, RegexAutomaton
from crewgate.core.json_schema.work_budget import WorkBudget

T = TypeVar("T")

_ASSERTIONS: Mapping[str, Callable[[JSONValue], Check]] = {
    "type": assertions.of_type,
    "enum": assertions.one_of_values,
    "const": assertions.constant,
    "minimum": assertions.minimum,
    "maximum": assertions.maximum,
    "exclusiveMinimum": assertions.exclusive_minimum,
    "exclusiveMaximum": assertions.exclusive_maximum,
    "multipleOf": assertions.multiple_of,
    "minLength": assertions.min_length,
    "maxLength": assertions.max_length,
    "minItems": assertions.min_items,
    "maxItems": assertions.max_items,
    "minProperties": assertions.min_properties,
    "maxProperties": assertions.max_properties,
    "uniqueItems": assertions.unique_items,
    "required": assertions.required,
}
# The keywords of one row have one check together; its first one names the place of an error.
_APPLICATORS: Mapping[tuple[str, ...], Callable[[Schema, Compiler], Check]] = {
    ("properties", "patternProperties", "additionalProperties"): applicators.properties,
    ("propertyNames",): applicators.property_names,
    ("prefixItems", "items"): applicators.items,
    ("if", "then", "else"): applicators.condition,
    ("allOf",): applicators.all_of,
    ("anyOf",): applicators.any_of,
    ("oneOf",): applicators.one_of,
    ("not",): applicators.negation,
}
_DEFINITIONS = ("$defs", "definitions")
_ANNOTATIONS = frozenset({
    "$comment", "$schema", "title", "description", "default", "examples", "deprecated", "readOnly",
    "writeOnly",
})  # fmt: skip
_KNOWN = frozenset({
    *_ASSERTIONS, *(key for keys in _APPLICATORS for key in keys), *_DEFINITIONS, *_ANNOTATIONS,
    "pattern", "$ref",
})  # fmt: skip
# In these, each supported keyword means the same.
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_DRAFTS = frozenset({
    _DRAFT, "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
})  # fmt: skip
_SAME_VALUE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else"})


class SchemaError(ValueError):
    """A schema is malformed, or has a keyword that is not evaluated. The text says where."""

    def __init__(self, why: str, steps: tuple[str, ...]) -> None:
        place = "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)
        super().__init__(f"{place}: {why}" if place else why)


class JSONSchema:
    """A compiled schema. A schema that refers to itself exists before it has its checks."""

    __slots__ = ("checks", "is_false")

    def __init__(self) -> None:
        self.checks: tuple[Check, ...] = ()
        self.is_false = False

    def failure(self, value: JSONValue, work: WorkBudget) -> Failure | None:
        """Return why a value does not fit; None if it fits.

        Raises:
            UncheckableValueError: The value takes more work than `work` has, or has a name that
                servers may read in two ways.
        """
        work.enter()
        found = None
        for check in self.checks:
            found = check(value, work)
            if found is not None:
                break
        work.leave()
        return found


def compile_schema(document: JSONValue) -> JSONSchema:
    """Compile a schema; its numbers are exact, as `json_values` reads them.

    Raises:
        SchemaError: The schema is malformed, or has a keyword that is not evaluated.
    """
    return _Compilation(document).compiled()


class _Compilation:
    """One document with all schemas in it."""

    def __init__(self, document: JSONValue) -> None:
        self._document = document
        self.budget = CompileBudget()
        # By the text of a `$ref`: the schemas that it may refer to.
        self._named: dict[str, JSONSchema] = {"#": JSONSchema()}
        # By the id of a schema: the schemas that it applies to the value that it gets itself.
        self._same_value: dict[int, set[int]] = {}

    def compiled(self) -> JSONSchema:
        definitions = list(self._definitions())
        self._named |= {reference: JSONSchema() for reference, _, _ in definitions}
        root = self.schema(self._document, (), self._named["#"])
        for reference, given, steps in definitions:
            self.schema(given, steps, self._named[reference])
        try:
            TopologicalSorter(self._same_value).prepare()
        except CycleError:
            why = "a $ref leads back to itself without a step into the value"
            raise SchemaError(why, ()) from None
        return root

    def schema(self, given: JSONValue, steps: tuple[str, ...], made: JSONSchema) -> JSONSchema:
        """Compile the schema at `steps` of the document into `made`."""
        if len(steps) > limits.argument_schema_depth_max:
            raise SchemaError("nested too deeply", steps)
        if given is False:
            made.is_false = True
            made.checks = (lambda _value, _work: NOT_ALLOWED,)
        elif isinstance(given, dict):
            _check_names(given, steps)
            checks = tuple(self._checks(given, steps, made))
            # The names come first: a wrong name refuses the value even if a later check fails.
            made.checks = (*applicators.exact_names(given), *checks)
        elif given is not True:
            raise SchemaError("expected a schema: an object, true or false", steps)
        return made

    def add_same_value(self, schema: JSONSchema, other: JSONSchema) -> None:
        """Note that a schema applies another one to the value that it gets itself."""
        self._same_value.setdefault(id(schema), set()).add(id(other))

    def _definitions(self) -> Iterator[tuple[str, JSONValue, tuple[str, ...]]]:
        for key in _DEFINITIONS:
            found = self._document.get(key, {}) if isinstance(self._document, dict) else {}
            if not isinstance(found, dict):
                raise SchemaError("expected an object with a schema for each name", (key,))
            for name, given in found.items():
                escaped = name.replace("~", "~0").replace("/", "~1")
                yield f"#/{key}/{escaped}", given, (key, name)

    def _checks(self, given: Schema, steps: tuple[str, ...], made: JSONSchema) -> Iterator[Check]:
        below = _CompilerBelow(self, steps, made)
        for key, make in _ASSERTIONS.items():
            if key in given:
                yield _made(partial(make, given[key]), (*steps, key))
        if "pattern" in given:
            make_pattern = partial(assertions.pattern, given["pattern"], self.budget)
            yield _made(make_pattern, (*steps, "pattern"))
        for keys, apply in _APPLICATORS.items():
            first = next((key for key in keys if key in given), None)
            if first is not None:
                yield _made(partial(apply, given, below), (*steps, first))
        if "$ref" in given:
            target = self._named.get(str(given["$ref"]))
            if target is None:
                why = 'expected "#" or "#/$defs/NAME", with a definition of that name at the top'
                raise SchemaError(why, (*steps, "$ref"))
            self.add_same_value(made, target)
            yield target.failure


class _CompilerBelow:
    """Compiles the schemas below the schema at `steps`."""

    def __init__(
        self, compilation: _Compilation, steps: tuple[str, ...], schema: JSONSchema
    ) -> None:
        self._compilation = compilation
        self._steps = steps
        self._schema = schema

    def below(self, given: JSONValue, *steps: str) -> JSONSchema:
        """Return the schema at `steps` of this one."""
        made = JSONSchema()
        if steps[0] in _SAME_VALUE:
            self._compilation.add_same_value(self._schema, made)
        return self._compilation.schema(given, (*self._steps, *steps), made)

    def automaton(self, given: JSONValue, *steps: str) -> RegexAutomaton:
        """Return the automaton of a regular expression at `steps` of this schema."""
        make = partial(assertions.automaton, given, self._compilation.budget)
        return _made(make, (*self._steps, *steps))


def _made(make: Callable[[], T], steps: tuple[str, ...]) -> T:
    """Call a maker; name the place in the error that it raises."""
    try:
        return make()
    except SchemaError:
        raise
    except ValueError as error:
        raise SchemaError(str(error), steps) from None


def _check_names(given: Schema, steps: tuple[str, ...]) -> None:
    """Refuse keywords without effect, which a person would rely on."""
    if str(given.get("$schema", _DRAFT)).rstrip("#") not in _DRAFTS:
        raise SchemaError(f'unknown; write "{_DRAFT}", or leave it out', (*steps, "$schema"))
    for key in given:
        if key not in _KNOWN and not key.startswith("x-"):
            raise SchemaError(f'the gateway does not check "{key}"; remove it', steps)
    for key in _DEFINITIONS:
        if steps and key in given:
            raise SchemaError(f'move "{key}" to the top of the schema', steps)
    if "if" not in given and ("then" in given or "else" in given):
        raise SchemaError('"then" and "else" have no effect without "if"', steps)
