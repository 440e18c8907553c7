"""Reads one table of a TOML document strictly: an unknown key is an error.

A problem does not stop the reading. It is noted with the path of the key, the value and the
expectation, so the operator sees all problems of a file at once. No key is known by name here.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from crewgate.config.renamed_keys import RENAMED

T = TypeVar("T")
U = TypeVar("U")

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)  # TOML 1.0, "Keys"
_USER = re.compile(r"//[^\s\"]*@|(?<=password=)[^&\s\"]+")
_SHOWN_CHARS_MAX = 80
PEM = "-----BEGIN "  # what a key begins with, if a person writes it in the place of its file
# The examples in a description of a value: such as "a", "b" or "c".
_EXAMPLES = re.compile(r'such as ("[^"]*"(?:(?:, | or )"[^"]*")*)')


class ValueParser(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """A reader for one sort of value, with its description.

    Attributes:
        expected: What a good value is, in words for a person.
        read: Returns the value, or raises ValueError; without a message if `expected` says it all.
        schema: A JSON Schema by which every good value is valid.
        resolve: Makes the paths in a value absolute, given the folder of the file.
        spell: Converts a value to what the file has for it.
        is_secret: No error shows the value, because a person may have written a secret there.
    """

    expected: str
    read: Callable[[object], T]
    schema: Mapping[str, object] = msgspec.field(default_factory=lambda: {"type": "string"})
    resolve: Callable[[T, Path], T] | None = None
    spell: Callable[[Any], object] | None = None
    is_secret: bool = False

    @property
    def described_schema(self) -> dict[str, object]:
        """The JSON Schema, with the examples in `expected`."""
        found = _EXAMPLES.search(self.expected)
        if found is None or self.schema.get("type") != "string":
            return dict(self.schema)
        return {**self.schema, "examples": re.findall('"([^"]*)"', found[1])}


class TOMLTableReader:
    """The table at `path` of the document. It notes its problems in a list of the whole document.

    `given` has the keys that the file has here. Paths in values are relative to `folder`.
    """

    expected_table = "a table: [{}]"

    def __init__(
        self, table: dict[str, object], path: str, problems: list[str], folder: Path = Path()
    ) -> None:
        self.given = frozenset(table)
        self._table = dict(table)
        self._known: dict[str, None] = {}
        self._problems = problems
        self._noted_before = len(problems)
        self._folder = folder
        self.path = path

    @property
    def has_no_problems(self) -> bool:
        """Whether no problem was noted in this table or below it.

        Checks between keys run only then, so that they do not report the same mistake again.
        """
        return len(self._problems) == self._noted_before

    def where(self, key: str) -> str:
        """Return the path of `key`, as TOML spells it."""
        word = key if _BARE.fullmatch(key) else json.dumps(key)
        return f"{self.path}.{word}" if self.path else word

    def report(self, key: str, value: object, expected: str) -> None:
        """Note a problem with the value of a key."""
        self._problems.append(f"{self.where(key)} = {_shown(value)}: {expected}")

    def problem(self, text: str, key: str | None = None) -> None:
        """Note a problem with the whole table, or with one key that may be missing."""
        self._problems.append(f"{self.path if key is None else self.where(key)}: {text}")

    def problem_unless_both(self, one: str, other: str) -> None:
        """Note if the file has only one of two keys."""
        if (one in self.given) != (other in self.given):
            self.problem(f"expected {one} and {other}, or neither")

    def declare(self, *keys: str) -> None:
        """Accept these keys in the table, even if nothing reads them."""
        self._known.update(dict.fromkeys(keys))

    def required(self, key: str, kind: ValueParser[T]) -> T:
        """Return the value of a required key.

        If the key is missing or its value is bad, note that and return None. No caller of `load`
        sees that None, because `load` refuses the document.
        """
        self.declare(key)
        if key not in self._table:
            # `close` reports a renamed key with both names.
            if not any(RENAMED.get(old) == key for old in self._table):
                self.problem(f"missing; expected {kind.expected}", key)
            return cast("T", None)
        return self._read(key, kind, cast("T", None))

    def optional(self, key: str, kind: ValueParser[T], default: U) -> T | U:
        """Return the value of a key, or `default` if the file does not have the key."""
        self.declare(key)
        return self._read(key, kind, default) if key in self._table else default

    def resolve(self, kind: ValueParser[T], value: T) -> T:
        """Return a value with absolute paths."""
        return value if kind.resolve is None else kind.resolve(value, self._folder)

    def child(self, key: str) -> "TOMLTableReader | None":
        """Return the table under `key`; None if there is none."""
        self.declare(key)
        if key not in self._table:
            return None
        value = self._table.pop(key)
        if not isinstance(value, dict):
            self.report(key, value, f"expected {self.expected_table.format(self.where(key))}")
            return None
        return self._below(value, self.where(key))

    def empty(self, key: str) -> "TOMLTableReader":
        """Return an empty table for `key`, which the file does not have."""
        return self._below({}, self.where(key))

    def has_table(self, key: str) -> bool:
        """Whether the value of `key` is a table."""
        return isinstance(self._table.get(key), dict)

    def children(self, key: str, max_count: int) -> Iterator[tuple[str, "TOMLTableReader"]]:
        """Yield (name, table) for each table under `key`: [key.NAME]."""
        family = self.child(key)
        if family is None:
            return
        if len(family.given) > max_count:
            family.problem(f"{len(family.given)} tables; at most {max_count} are possible")
        for name in family.unread():
            member = family.child(name)
            if member:
                yield name, member

    def unread(self) -> tuple[str, ...]:
        """Return the keys that the file has here and that were not read yet, in its order."""
        return tuple(self._table)

    def items(self, key: str, max_count: int) -> Iterator["TOMLTableReader"]:
        """Yield each table of an array of tables: [[key]]."""
        self.declare(key)
        value = self._table.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.report(key, value, f"expected tables, each headed [[{self.where(key)}]]")
            return
        if len(value) > max_count:
            self.problem(f"{len(value)} tables; at most {max_count} are possible", key)
        for number, item in enumerate(value):
            yield self._below(item, f"{self.where(key)}[{number}]")

    def close(self) -> None:
        """Note each key that nothing has read: a misspelled limit would be no limit."""
        for key in self._table:
            if RENAMED.get(key) in self._known:
                self.problem(f'this key is now called "{RENAMED[key]}"; rename it', key)
                continue
            near = difflib.get_close_matches(key, list(self._known), n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(self._known)}"
            self.problem(f"unknown key; {hint}", key)

    def _below(self, table: dict[str, object], path: str) -> "TOMLTableReader":
        return type(self)(table, path, self._problems, self._folder)

    def _read(self, key: str, kind: ValueParser[T], default: U) -> T | U:
        value = self._table.pop(key)
        try:
            return self.resolve(kind, kind.read(value))
        except ValueError as error:
            detail = f" ({error})" if str(error) else ""
            if kind.is_secret:
                self.problem(f"expected {kind.expected}{detail}", key)
            else:
                self.report(key, value, f"expected {kind.expected}{detail}")
            return default


def _shown(value: object) -> str:
    """Return a value on one line, escaped and shortened, without password and PEM."""
    if isinstance(value, str) and PEM in value:
        return f'"{PEM}…"'
    text = _USER.sub("//…@", json.dumps(value, default=str))
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"
