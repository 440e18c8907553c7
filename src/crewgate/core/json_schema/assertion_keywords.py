"""The keywords that assert something of one value (JSON Schema 2020-12, "Validation", section 6).

The maker of a keyword gets its value in the schema. It returns a check, or raises ValueError. A
check returns why a value fails; None if it does not, or if the keyword is about another type.
"""

from collections.abc import Callable, Mapping, Sized
from fractions import Fraction
from operator import ge, gt, le, lt

from crewgate import limits
from crewgate.core.json_schema.comparison_text import comparison_text
from crewgate.core.json_schema.failure import MISSING, Failure, must_be
from crewgate.core.json_schema.json_values import (
    JSONValue,
    Number,
    choices,
    is_integer,
    is_number,
    shown,
)
from crewgate.core.json_schema.regex_automaton import CompileBudget, RegexAutomaton
from crewgate.core.json_schema.work_budget import WorkBudget

Check = Callable[[JSONValue, WorkBudget], Failure | None]

_CHARS_PER_STEP = 16  # that an automaton reads
_DIVISION_STEPS = 16  # of numbers with some hundred digits
_COUNT_MAX = 2**53 - 1  # the largest integer that every JSON reader keeps exact

TYPES: Mapping[str, tuple[str, Callable[[JSONValue], bool]]] = {
    "null": ("null", lambda value: value is None),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "integer": ("a whole number", is_integer),
    "number": ("a number", is_number),
    "string": ("a string", lambda value: isinstance(value, str)),
    "array": ("an array", lambda value: isinstance(value, list)),
    "object": ("an object", lambda value: isinstance(value, dict)),
}


def of_type(given: JSONValue) -> Check:
    """`type`: the value has one of the types."""
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) and name in TYPES for name in names):
        raise ValueError(f"expected one or more of {', '.join(TYPES)}")
    expected = " or ".join(TYPES[name][0] for name in names)
    tests = tuple(TYPES[name][1] for name in names)

    def check(value: JSONValue, _work: WorkBudget) -> Failure | None:
        return None if any(test(value) for test in tests) else must_be(value, expected)

    return check


def one_of_values(given: JSONValue) -> Check:
    """`enum`: the value equals one of the list."""
    if not isinstance(given, list) or not 0 < len(given) <= limits.argument_schema_enum_max:
        raise ValueError(f"expected a list of 1 to {limits.argument_schema_enum_max} values")
    work = WorkBudget(limits.argument_schema_bytes_max)
    allowed = frozenset(comparison_text(value, work) for value in given)
    longest = max(map(len, allowed))
    expected = choices(given)

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        # A longer text is not equal, so it need not be written.
        is_long = isinstance(value, str) and len(value) > longest
        if is_long or comparison_text(value, work) not in allowed:
            return must_be(value, expected)
        return None

    return check


def constant(given: JSONValue) -> Check:
    """`const`: the value equals this one."""
    return one_of_values([given])


def _bound(holds: Callable[[Number, Number], bool], words: str) -> Callable[[JSONValue], Check]:
    def make(given: JSONValue) -> Check:
        if not is_number(given):
            raise ValueError("expected a number")
        bound: Number = given

        def check(value: JSONValue, _work: WorkBudget) -> Failure | None:
            if not is_number(value) or holds(value, bound):
                return None
            return must_be(value, f"{words} {shown(bound)}")

        return check

    return make


minimum = _bound(ge, "at least")
maximum = _bound(le, "at most")
exclusive_minimum = _bound(gt, "more than")
exclusive_maximum = _bound(lt, "less than")


def multiple_of(given: JSONValue) -> Check:
    """`multipleOf`: the value divided by this number is a whole number."""
    if not is_number(given) or given <= 0:
        raise ValueError("expected a number of more than 0")
    divisor = Fraction(given)

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        if not is_number(value):
            return None
        work.spend(_DIVISION_STEPS)
        if (Fraction(value) / divisor).denominator == 1:
            return None
        return must_be(value, f"a multiple of {shown(given)}")

    return check


def pattern(given: JSONValue, budget: CompileBudget) -> Check:
    """`pattern`: the regular expression matches somewhere in the string."""
    regex = automaton(given, budget)

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        if not isinstance(value, str) or matches(regex, value, work):
            return None
        return must_be(value, f"a text that matches the regular expression {given}")

    return check


def automaton(given: JSONValue, budget: CompileBudget) -> RegexAutomaton:
    """Return the automaton of a regular expression in a schema; raise ValueError."""
    if not isinstance(given, str):
        raise ValueError("expected a regular expression")  # noqa: TRY004 - as for all bad values
    return RegexAutomaton(given, budget)


def matches(regex: RegexAutomaton, text: str, work: WorkBudget) -> bool:
    """Return whether a regular expression matches somewhere in the text."""
    work.spend(1 + len(text) // _CHARS_PER_STEP)
    return regex.matches(text)


def _size(of: type[Sized], form: str, *, is_most: bool) -> Callable[[JSONValue], Check]:
    words = "at most" if is_most else "at least"

    def make(given: JSONValue) -> Check:
        if not is_integer(given) or not 0 <= given <= _COUNT_MAX:
            raise ValueError("expected a whole number of 0 or more")
        bound = int(given)
        expected = form.format(f"{words} {bound}")

        def check(value: JSONValue, _work: WorkBudget) -> Failure | None:
            if not isinstance(value, of):
                return None
            fits = len(value) <= bound if is_most else len(value) >= bound
            return None if fits else must_be(value, expected)

        return check

    return make


max_length = _size(str, "a text of {} characters", is_most=True)
min_length = _size(str, "a text of {} characters", is_most=False)
max_items = _size(list, "an array of {} items", is_most=True)
min_items = _size(list, "an array of {} items", is_most=False)
max_properties = _size(dict, "an object of {} members", is_most=True)
min_properties = _size(dict, "an object of {} members", is_most=False)


def unique_items(given: JSONValue) -> Check:
    """`uniqueItems`: no two items of an array are equal."""
    if not isinstance(given, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 - as for all bad values

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        if not given or not isinstance(value, list):
            return None
        seen: set[str] = set()
        for number, item in enumerate(value):
            text = comparison_text(item, work)
            if text in seen:
                return must_be(item, "different from each item before it").below(str(number))
            seen.add(text)
        return None

    return check


def required(given: JSONValue) -> Check:
    """`required`: an object has these members."""
    names = texts(given)

    def check(value: JSONValue, work: WorkBudget) -> Failure | None:
        if not isinstance(value, dict):
            return None
        work.spend(len(names))
        for name in names:
            if name not in value:
                return MISSING.below(name)
        return None

    return check


def texts(given: JSONValue) -> tuple[str, ...]:
    """Return the texts of a list in a schema; raise ValueError if it is none."""
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError("expected a list of names")
    return tuple(given)
