"""A deterministic finite automaton of a regular expression: one table look-up for each character.

All states are made when the pattern is compiled, so each match takes time that is linear in the
length of the text. A pattern that needs too many states is refused. The construction is
Thompson's, then the subset construction (Hopcroft, Motwani, Ullman, "Introduction to Automata
Theory, Languages, and Computation", sections 2.3.5 and 3.2.3).
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from crewgate import limits
from crewgate.core.json_schema.regex_parser import (
    Anchor,
    Characters,
    Choice,
    Part,
    Ranges,
    Repeat,
    Sequence,
    parse,
)

_ASCII = 128
_STATE_STEPS = 16  # for a state of the graph, because of its memory
_REJECTED, _MATCHED = -1, -2  # in place of a state: no further character changes the result


class CompileBudget:
    """Counts the steps to compile all patterns of one schema."""

    def __init__(self) -> None:
        self._left = limits.regex_compile_steps_max

    def spend(self, steps: int) -> None:
        """Count steps. Raise ValueError if the budget has no more."""
        self._left -= steps
        if self._left < 0:
            raise _too_complex()


class RegexAutomaton:
    """The automaton of one pattern, which matches anywhere in a text unless it has anchors."""

    __slots__ = ("_ascii", "_bounds", "_final", "_rows")

    def __init__(self, pattern: str, budget: CompileBudget) -> None:
        """Compile a pattern.

        Raises:
            ValueError: The pattern is malformed, has an unsupported construct, or needs too many
                states.
        """
        graph = _Graph(budget)
        accept = graph.add()
        start = graph.build(parse(pattern), accept)
        # Two characters are of one class if no range of the pattern holds only one of them.
        cuts = {end for ranges in graph.ranges.values() for low, high in ranges
                for end in (low, high + 1)}  # fmt: skip
        self._bounds = sorted(cuts - {0})
        self._ascii = [bisect_right(self._bounds, code) for code in range(_ASCII)]
        self._rows: list[list[int]] = []
        self._final: list[bool] = []
        self._determine(graph, start, accept, budget)

    def matches(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in the text."""
        rows, ascii_classes, bounds = self._rows, self._ascii, self._bounds
        state = 0 if rows else _MATCHED
        for character in text:
            if state < 0:
                break
            code = ord(character)
            row = rows[state]
            state = row[ascii_classes[code] if code < _ASCII else bisect_right(bounds, code)]
        return state == _MATCHED or (state >= 0 and self._final[state])

    def _determine(self, graph: "_Graph", start: int, accept: int, budget: CompileBudget) -> None:
        first = graph.closure([start], at_start=True)
        if accept in first:
            return  # every text matches
        again = graph.closure([start])  # a match may begin at each character
        sets = [first]  # by number of a state: the states of the graph that it stands for
        # The start has a number of its own: only there, "^" matches.
        numbers: dict[frozenset[int], int] = {frozenset(): _REJECTED}
        known: dict[frozenset[int], int] = {}
        steps = _Transitions(graph, self._bounds, budget)
        for number, states in enumerate(sets):  # `sets` grows
            self._final.append(accept in graph.closure(states, at_start=not number, at_end=True))
            row = []
            for target in steps.of(states):
                if target not in known:
                    following = graph.closure(target) | again
                    known[target] = _state_of(following, accept, numbers)
                    if known[target] == len(sets):
                        sets.append(following)
                row.append(known[target])
            self._rows.append(row)


def _too_complex() -> ValueError:
    return ValueError("needs too many states; begin the pattern with ^, or repeat less")


def _state_of(states: frozenset[int], accept: int, numbers: dict[frozenset[int], int]) -> int:
    """Return the number for a set of states; a new set gets the next one."""
    if accept in states:
        return _MATCHED
    if len(numbers) > limits.regex_states_max:
        raise _too_complex()
    return numbers.setdefault(states, len(numbers))


class _Edge(NamedTuple):
    target: int
    anchor: Anchor | None = None


class _Graph:
    """The nondeterministic automaton; a state is a number."""

    def __init__(self, budget: CompileBudget) -> None:
        self._budget = budget
        self._empty: list[list[_Edge]] = []  # by state: the edges that read no character
        self.ranges: dict[int, Ranges] = {}  # by state: the characters that it reads
        self.after: dict[int, int] = {}  # by state: the state after such a character

    def add(self, *edges: _Edge) -> int:
        """Add a state with edges that read no character."""
        self._budget.spend(_STATE_STEPS)
        self._empty.append(list(edges))
        return len(self._empty) - 1

    def build(self, part: Part, end: int) -> int:
        """Add the states of a part that goes on with the state `end`; return its first state."""
        if isinstance(part, Characters):
            state = self.add()
            self.ranges[state], self.after[state] = part.ranges, end
            return state
        if isinstance(part, Anchor):
            return self.add(_Edge(end, part))
        if isinstance(part, Sequence):
            for each in reversed(part.parts):
                end = self.build(each, end)
            return self.add(_Edge(end))
        if isinstance(part, Choice):
            return self.add(*(_Edge(self.build(option, end)) for option in part.options))
        return self._repeated(part, end)

    def _repeated(self, repeat: Repeat, end: int) -> int:
        if repeat.high is None:
            start = self.add(_Edge(end))
            self._empty[start].append(_Edge(self.build(repeat.part, start)))
        else:
            start = end
            for _ in range(repeat.high - repeat.low):
                start = self.add(_Edge(self.build(repeat.part, start)), _Edge(end))
        for _ in range(repeat.low):
            start = self.build(repeat.part, start)
        return self.add(_Edge(start))

    def closure(
        self, states: Iterable[int], *, at_start: bool = False, at_end: bool = False
    ) -> frozenset[int]:
        """Return what is reached without a character, without states that lead nowhere then."""
        waiting = list(states)
        seen = set(waiting)
        while waiting:
            for target, anchor in self._empty[waiting.pop()]:
                if anchor is not None and not (at_end if anchor.is_end else at_start):
                    continue
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        self._budget.spend(len(seen))
        return frozenset(state for state in seen if self._is_kept(state))

    def _is_kept(self, state: int) -> bool:
        edges = self._empty[state]
        return not edges or any(edge.anchor is not None and edge.anchor.is_end for edge in edges)


class _Transitions:
    """Finds the states after each class of characters."""

    def __init__(self, graph: _Graph, bounds: list[int], budget: CompileBudget) -> None:
        self._budget = budget
        self._after = graph.after
        self._count = len(bounds) + 1
        self._classes = {
            state: [
                number
                for low, high in ranges
                for number in range(bisect_right(bounds, low), bisect_right(bounds, high) + 1)
            ]
            for state, ranges in graph.ranges.items()
        }

    def of(self, states: frozenset[int]) -> list[frozenset[int]]:
        """Return, for each class, the states that follow one of `states`."""
        found: list[set[int]] = [set() for _ in range(self._count)]
        self._budget.spend(self._count)
        for state in states:
            classes = self._classes.get(state, ())
            self._budget.spend(len(classes))
            for number in classes:
                found[number].add(self._after[state])
        return [frozenset(each) for each in found]
