"""One table of a TOML document, read strictly: each key once, by kind, and none left over.

A problem does not stop the reading: it is noted with the key's path, the value, and what was
expected, so that an operator mends a file in one go. Knows no key by name.
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


class ValueParser(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """How one sort of value is read: what to tell a person, and a reader raising ValueError.

    A ValueError without a message means that `expected` says it all. `schema` is JSON Schema that
    every good value is valid by. `resolve` makes the paths in a value absolute, given the folder of
    the file. `spell` turns a value into what the file has for it.
    """

    expected: str
    read: Callable[[object], T]
    schema: Mapping[str, object] = msgspec.field(default_factory=lambda: {"type": "string"})
    resolve: Callable[[T, Path], T] | None = None
    spell: Callable[[Any], object] | None = None


class Section:
    """A table at `path` in the document; problems go to a list shared by the whole document.

    Paths in it are relative to `folder`.
    """

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
        """Whether nothing wrong was noted since this table was opened, here or below.

        What must hold between keys is asked only then: it would be told of a mistake once more.
        """
        return len(self._problems) == self._noted_before

    def where(self, key: str) -> str:
        """The path of `key`, spelled as TOML spells it."""
        word = key if _BARE.fullmatch(key) else json.dumps(key)
        return f"{self.path}.{word}" if self.path else word

    def report(self, key: str, value: object, expected: str) -> None:
        """Remember one problem of one key's value."""
        self._problems.append(f"{self.where(key)} = {_shown(value)}: {expected}")

    def problem(self, text: str, key: str | None = None) -> None:
        """Remember one problem of the whole table, or of one key that may be missing."""
        self._problems.append(f"{self.where(key) if key else self.path}: {text}")

    def declare(self, *keys: str) -> None:
        """These keys are possible here, also where nobody reads them."""
        self._known.update(dict.fromkeys(keys))

    def required(self, key: str, kind: ValueParser[T]) -> T:
        """The value of a key that must be there.

        What is missing or cannot be read is noted, and the None that stands for it is never seen
        outside: `load` refuses the document.
        """
        self.declare(key)
        if key not in self._table:
            if not any(RENAMED.get(old) == key for old in self._table):  # else `close` names both
                self._problems.append(f"{self.where(key)}: missing; expected {kind.expected}")
            return cast("T", None)
        return self._read(key, kind, cast("T", None))

    def optional(self, key: str, kind: ValueParser[T], default: U) -> T | U:
        """The value of a key, or `default` where the file is silent."""
        self.declare(key)
        return self._read(key, kind, default) if key in self._table else default

    def resolve(self, kind: ValueParser[T], value: T) -> T:
        """A value with its paths made absolute."""
        return value if kind.resolve is None else kind.resolve(value, self._folder)

    def child(self, key: str) -> "Section | None":
        """The table under `key`; None if there is none."""
        self.declare(key)
        if key not in self._table:
            return None
        value = self._table.pop(key)
        if not isinstance(value, dict):
            self.report(key, value, f"expected a table: [{self.where(key)}]")
            return None
        return self._below(value, self.where(key))

    def empty(self, key: str) -> "Section":
        """A table under `key` of a file that has none."""
        return self._below({}, self.where(key))

    def has_table(self, key: str) -> bool:
        """Whether the file has a table under `key`, where it may have a single value."""
        return isinstance(self._table.get(key), dict)

    def children(self, key: str, most: int) -> Iterator[tuple[str, "Section"]]:
        """(name, table) of each table under `key`: [key.NAME]."""
        family = self.child(key)
        if family is None:
            return
        if len(family.given) > most:
            family.problem(f"{len(family.given)} tables; at most {most} are possible")
        for name in family.unread():
            member = family.child(name)
            if member:
                yield name, member

    def unread(self) -> tuple[str, ...]:
        """Return the keys that the file has here and that were not read yet, in its order."""
        return tuple(self._table)

    def items(self, key: str, most: int) -> Iterator["Section"]:
        """Each table of an array of tables: [[key]]."""
        self.declare(key)
        value = self._table.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.report(key, value, f"expected tables, each headed [[{self.where(key)}]]")
            return
        if len(value) > most:
            self._problems.append(f"{self.where(key)}: {len(value)}; at most {most} are possible")
        for number, item in enumerate(value):
            yield self._below(item, f"{self.where(key)}[{number}]")

    def close(self) -> None:
        """Every key that nobody asked for is a problem: a misspelt limit is no limit."""
        for key in self._table:
            if RENAMED.get(key) in self._known:
                self._problems.append(
                    f'{self.where(key)}: this key is now called "{RENAMED[key]}"; rename it'
                )
                continue
            near = difflib.get_close_matches(key, list(self._known), n=1)
            mend = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(self._known)}"
            self._problems.append(f"{self.where(key)}: unknown key; {mend}")

    def _below(self, table: dict[str, object], path: str) -> "Section":
        return Section(table, path, self._problems, self._folder)

    def _read(self, key: str, kind: ValueParser[T], stand_in: U) -> T | U:
        value = self._table.pop(key)
        try:
            return self.resolve(kind, kind.read(value))
        except ValueError as error:
            detail = f" ({error})" if str(error) else ""
            self.report(key, value, f"expected {kind.expected}{detail}")
            return stand_in


def _shown(value: object) -> str:
    """A value as the file might spell it, short, escaped, on one line, no password of a URL."""
    text = _USER.sub("//…@", json.dumps(value, default=str))
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"
