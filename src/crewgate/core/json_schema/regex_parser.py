r"""Parses the regular expressions of a `pattern` (ECMA-262) that a finite automaton can match.

It knows literals, `.`, classes, groups, `|`, the quantifiers, `^` and `$`. Back-references,
look-around, `\b`, `\p` and flags are refused: no automaton of bounded size has them, or engines
differ in what they mean. `\d`, `\w` and `\s` mean what they mean in ECMA-262; a character is a
code point.
"""

import re
from typing import NamedTuple

from crewgate import limits

CODE_POINT_MAX = 0x10FFFF
Ranges = tuple[tuple[int, int], ...]  # of code points, both ends included, in order


class Characters(NamedTuple):
    """One character out of some ranges."""

    ranges: Ranges


class Sequence(NamedTuple):
    """Several parts, one after another; without parts, the empty text."""

    parts: tuple["Part", ...]


class Choice(NamedTuple):
    """One of several parts."""

    options: tuple["Part", ...]


class Repeat(NamedTuple):
    """A part, `low` to `high` times; `high` is None for any number."""

    part: "Part"
    low: int
    high: int | None


class Anchor(NamedTuple):
    """The start of the text, or its end."""

    is_end: bool


Part = Characters | Sequence | Choice | Repeat | Anchor

_DIGITS: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
# ECMA-262, "CharacterClassEscape": WhiteSpace and LineTerminator.
_SPACE: Ranges = (
    (0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
    (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
_LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_COUNT = re.compile(r"\{([0-9]{1,6})(?:(,)([0-9]{1,6})?)?\}")
_HEX = re.compile(r"u\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})")
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def parse(pattern: str) -> Part:
    """Return the parts of a regular expression.

    Raises:
        ValueError: It is not one, or has a construct that is not supported. The text says where.
    """
    if len(pattern) > limits.regex_chars_max:
        raise ValueError(f"longer than {limits.regex_chars_max} characters")
    parser = _Parser(pattern)
    part = parser.choice(0)
    if parser.at < len(pattern):
        raise parser.error("a ) without its (")
    return part


class _Parser:
    """Reads a pattern from left to right; `at` is the next character."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0

    def error(self, why: str) -> ValueError:
        return ValueError(f"{why} at character {self.at + 1} of the pattern")

    def choice(self, depth: int) -> Part:
        if depth > limits.regex_nesting_max:
            raise self.error("too many groups inside each other")
        options = [self._sequence(depth)]
        while self._takes("|"):
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Part:
        parts = []
        while self.at < len(self._pattern) and self._pattern[self.at] not in "|)":
            may_repeat = self._pattern[self.at] not in "^$"
            part = self._part(depth)
            parts.append(self._quantified(part) if may_repeat else part)
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _part(self, depth: int) -> Part:
        character = self._next()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return Characters(self._class())
        if character == ".":
            return Characters(complement(_LINE_ENDS))
        if character in "^$":
            return Anchor(character == "$")
        if character == "\\":
            return Characters(self._escape())
        if character in "*+?{":
            self.at -= 1
            raise self.error(f"a {character} with nothing to repeat")
        if character in "]}":
            self.at -= 1
            raise self.error(f"a {character} without its begin; write \\{character}")
        return Characters(((ord(character), ord(character)),))

    def _group(self, depth: int) -> Part:
        if self._takes("?") and not self._takes(":"):
            raise self.error("a group other than (…) and (?:…)")
        part = self.choice(depth + 1)
        if not self._takes(")"):
            raise self.error("a ( without its )")
        return part

    def _quantified(self, part: Part) -> Part:
        match = _COUNT.match(self._pattern, self.at)
        if match is not None:
            low = int(match[1])
            high = low if match[2] is None else int(match[3]) if match[3] else None
            if max(low, high or 0) > limits.regex_repeat_max or (high is not None and high < low):
                raise self.error(f"a count that is not 0 to {limits.regex_repeat_max}")
            self.at = match.end()
        elif self._peek() in _QUANTIFIERS:
            low, high = _QUANTIFIERS[self._next()]
        else:
            return part
        self._takes("?")  # a lazy quantifier describes the same texts
        if self._peek() in {*_QUANTIFIERS, "{"}:
            raise self.error("a quantifier after a quantifier")
        return Repeat(part, low, high)

    def _escape(self) -> Ranges:
        """Read what follows a backslash, in a class or outside."""
        character = self._next()
        if character.lower() in _CLASSES:
            ranges = _CLASSES[character.lower()]
            return complement(ranges) if character.isupper() else ranges
        match = _HEX.match(self._pattern, self.at - 1)
        if match is not None:
            self.at = match.end()
            point = int(match[1] or match[2] or match[3], 16)
            if point > CODE_POINT_MAX or 0xD800 <= point <= 0xDFFF:  # noqa: PLR2004 - surrogates
                raise self.error(f"\\{match[0]} is no character; write the character itself")
        elif character in _CONTROLS:
            point = _CONTROLS[character]
        elif character.isascii() and not character.isalnum():
            point = ord(character)
        else:
            self.at -= 1
            raise self.error(f"\\{character}, which is not supported,")
        return ((point, point),)

    def _class(self) -> Ranges:
        is_negated = self._takes("^")
        found: list[tuple[int, int]] = []
        while not self._takes("]"):
            first = self._class_member()
            is_range = self._peek() == "-" and self._peek(1) not in {"]", ""}
            if not is_range:
                found += first
                continue
            self.at += 1
            last = self._class_member()
            if len(first) != 1 or len(last) != 1 or first[0][0] != first[0][1]:
                raise self.error("a range between classes")
            if last[0][0] != last[0][1] or last[0][0] < first[0][0]:
                raise self.error("a range that is out of order")
            found.append((first[0][0], last[0][0]))
        ranges = _united(found)
        return complement(ranges) if is_negated else ranges

    def _class_member(self) -> Ranges:
        character = self._next()
        if character == "\\":
            return self._escape()
        return ((ord(character), ord(character)),)

    def _takes(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self.at += 1
        return True

    def _peek(self, ahead: int = 0) -> str:
        return self._pattern[self.at + ahead : self.at + ahead + 1]

    def _next(self) -> str:
        if self.at >= len(self._pattern):
            raise self.error("an unfinished class, group or escape")
        self.at += 1
        return self._pattern[self.at - 1]


def complement(ranges: Ranges) -> Ranges:
    """Return the ranges of all other characters."""
    found, start = [], 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    if start <= CODE_POINT_MAX:
        found.append((start, CODE_POINT_MAX))
    return tuple(found)


def _united(ranges: list[tuple[int, int]]) -> Ranges:
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)
