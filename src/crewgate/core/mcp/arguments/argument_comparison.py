"""A comparison of one argument of a tool with what its operator allows.

Each comparison also demands the type that it is about: a number is never "under" a folder. An
argument that is null counts as absent.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from crewgate.core.json_schema.assertion_keywords import matches
from crewgate.core.json_schema.comparison_text import comparison_text
from crewgate.core.json_schema.exact_names import ExactNames
from crewgate.core.json_schema.failure import MISSING, NOT_ALLOWED, Failure, must_be
from crewgate.core.json_schema.json_values import JSONValue, Number, choices, is_number, shown
from crewgate.core.json_schema.regex_automaton import CompileBudget, RegexAutomaton
from crewgate.core.json_schema.work_budget import WorkBudget
from crewgate.core.mcp.arguments.folder_containment import is_inside
from crewgate.core.mcp.arguments.url_host import is_for_host

EACH_ITEM = "*"  # the step of a place that leads to every item of an array

_PATH_STEPS = 64  # to normalize a path of the longest length
Holds = Callable[[JSONValue, WorkBudget], bool]


class ArgumentComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The values that one argument may have; everything that is set must hold.

    Attributes:
        at: The steps to the argument; `EACH_ITEM` leads to each item of an array.
        required: Refuse a call without the argument.
        forbidden: Refuse a call with the argument.
        one_of: Texts, numbers or booleans that it may be.
        matches: Texts that it may be; "*" stands for any characters.
        not_matches: Texts that it may not be; "*" as in `matches`.
        under: Folders that a path may be in.
        url_hosts: Hosts that a URL may be for.
        at_least: The lowest number that it may be.
        at_most: The highest number that it may be.
        length_at_most: How many characters or items it may have.
    """

    at: tuple[str, ...]
    required: bool = True
    forbidden: bool = False
    one_of: tuple[str | int | bool | Decimal, ...] = ()
    matches: tuple[str, ...] = ()
    not_matches: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    url_hosts: tuple[str, ...] = ()
    at_least: int | Decimal | None = None
    at_most: int | Decimal | None = None
    length_at_most: int | None = None


class _Condition(NamedTuple):
    """A condition, and a text for a model that says how to meet it."""

    expected: str
    holds: Holds


class CompiledComparison:
    """A comparison that is ready to be checked."""

    __slots__ = ("_conditions", "_forbidden", "_required", "_steps")

    def __init__(self, comparison: ArgumentComparison) -> None:
        """Compile a comparison; raise ValueError if a text with "*" is too complex."""
        self._steps = tuple((step, ExactNames([step])) for step in comparison.at)
        self._required = comparison.required and not comparison.forbidden
        self._forbidden = comparison.forbidden
        self._conditions = _conditions(comparison)

    def failure(self, arguments: JSONValue, work: WorkBudget) -> Failure | None:
        """Return why the arguments may not be sent; None if this comparison allows them.

        Raises:
            UncheckableValueError: They take more work than `work` has, or a name is ambiguous.
        """
        return self._failure(arguments, 0, work)

    def _failure(self, value: JSONValue, number: int, work: WorkBudget) -> Failure | None:
        work.enter()
        if number == len(self._steps):
            found = self._compared(value, work)
        elif self._steps[number][0] == EACH_ITEM:
            found = self._of_items(value, number, work)
        else:
            found = self._of_member(value, number, work)
        work.leave()
        return found

    def _of_items(self, value: JSONValue, number: int, work: WorkBudget) -> Failure | None:
        if not isinstance(value, list):
            return must_be(value, "an array")
        for index, item in enumerate(value):
            found = self._failure(item, number + 1, work)
            if found is not None:
                return found.below(str(index))
        return None

    def _of_member(self, value: JSONValue, number: int, work: WorkBudget) -> Failure | None:
        step, names = self._steps[number]
        if not isinstance(value, dict):
            return must_be(value, "an object")
        names.check(value, work)
        part = value.get(step)
        if part is None:
            found = self._missing(number) if self._required else None
        else:
            found = self._failure(part, number + 1, work)
        return None if found is None else found.below(step)

    def _missing(self, number: int) -> Failure:
        is_whole = number == len(self._steps) - 1
        expected = " and ".join(each.expected for each in self._conditions) if is_whole else ""
        return MISSING._replace(expected=expected)

    def _compared(self, value: JSONValue, work: WorkBudget) -> Failure | None:
        if self._forbidden:
            return NOT_ALLOWED
        for condition in self._conditions:
            if not condition.holds(value, work):
                return must_be(value, condition.expected)
        return None


def _conditions(comparison: ArgumentComparison) -> tuple[_Condition, ...]:
    found = []
    if comparison.one_of:
        found.append(_Condition(choices(comparison.one_of), _is_one_of(comparison.one_of)))
    if comparison.matches:
        expected = f"a text like {choices(comparison.matches)}"
        found.append(_Condition(expected, _is_like(comparison.matches)))
    if comparison.not_matches:
        expected = f"a text unlike {choices(comparison.not_matches)}"
        found.append(_Condition(expected, _is_like(comparison.not_matches, is_wanted=False)))
    if comparison.under:
        expected = (
            f'a path in {choices(comparison.under)} without "..", "//", backslashes and escapes'
        )
        found.append(_Condition(expected, _is_text_in(is_inside, comparison.under)))
    if comparison.url_hosts:
        expected = f"an http or https URL with the host {choices(comparison.url_hosts)}"
        found.append(_Condition(expected, _is_text_in(is_for_host, comparison.url_hosts)))
    if comparison.at_least is not None:
        found.append(_at_least(comparison.at_least))
    if comparison.at_most is not None:
        found.append(_at_most(comparison.at_most))
    if comparison.length_at_most is not None:
        found.append(_length_at_most(comparison.length_at_most))
    return tuple(found)


def _is_one_of(allowed: Iterable[JSONValue]) -> Holds:
    setup = WorkBudget()
    texts = frozenset(comparison_text(value, setup) for value in allowed)
    longest = max(map(len, texts))

    def holds(value: JSONValue, work: WorkBudget) -> bool:
        if isinstance(value, list | dict) or (isinstance(value, str) and len(value) > longest):
            return False
        return comparison_text(value, work) in texts

    return holds


def _is_like(patterns: Iterable[str], *, is_wanted: bool = True) -> Holds:
    budget = CompileBudget()
    automatons = [RegexAutomaton(_as_regex(pattern), budget) for pattern in patterns]

    def holds(value: JSONValue, work: WorkBudget) -> bool:
        if not isinstance(value, str):
            return False
        return any(matches(each, value, work) for each in automatons) is is_wanted

    return holds


def _as_regex(pattern: str) -> str:
    """Return the regular expression of a text with "*" for any characters."""
    escaped = (f"\\{each}" if each.isascii() and not each.isalnum() else each for each in pattern)
    return f"^{''.join(escaped)}$".replace("\\*", "[^]*")


def _is_text_in(test: Callable[[str, tuple[str, ...]], bool], allowed: tuple[str, ...]) -> Holds:
    def holds(value: JSONValue, work: WorkBudget) -> bool:
        work.spend(_PATH_STEPS + len(allowed))
        return isinstance(value, str) and test(value, allowed)

    return holds


def _at_least(bound: Number) -> _Condition:
    return _Condition(
        f"a number of at least {shown(bound)}",
        lambda value, _work: is_number(value) and value >= bound,
    )


def _at_most(bound: Number) -> _Condition:
    return _Condition(
        f"a number of at most {shown(bound)}",
        lambda value, _work: is_number(value) and value <= bound,
    )


def _length_at_most(bound: int) -> _Condition:
    return _Condition(
        f"a text or an array of at most {bound} characters or items",
        lambda value, _work: isinstance(value, str | list) and len(value) <= bound,
    )
