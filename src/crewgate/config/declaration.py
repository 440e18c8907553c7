"""How a key of the configuration is declared: once, at the field that gets its value.

    port: Annotated[int, values.integer(1, 65_535), "TCP port to listen on."]
    hosts: Annotated[Hosts, "Serve requests for these hosts only.", Key(absent="any host")] = ()

A field of a frozen struct is a key if its annotation has a text: one plain sentence with the
meaning of the key. A `ValueParser` in the annotation, or in an alias such as `Hosts`, reads the
value; a `Literal`, an enumeration or a bool needs none. A field whose type is a struct is a table.
The default of the field is the default of the key. A `KeyDeclaration` in it adds the rest.

`load` reads a file by these declarations. The comments that `crewgate init` writes, the reference
of all keys and the JSON schema are made from them. No key is known by name here.

A struct may have a method `check(section)`, which notes contradictions between its keys, and a
method `build()`, which makes the value that the rest of the program gets. `build()` of a
`FlattenedKeys` returns a dict with fields of the struct around it.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from crewgate.config import values
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser

T = TypeVar("T")

# By the name of the field: the values that a table and the tables around it have so far.
Scope = Mapping[str, Any]


class KeyDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of one key, or of the tables under one key.

    `text` is one plain sentence with the meaning. `name` is the key, if it differs from the field.
    `default` is the value if the file has none, or a function that makes it from the scope;
    `absent` describes it in words where the value itself says too little. With `restart`, a changed
    value takes effect when the machine starts again.
    """

    text: str = ""
    name: str = ""
    default: Any = msgspec.UNSET
    absent: str = ""
    restart: bool = False

    def key(self, field: str) -> str:
        """Return the key as the file has it."""
        return self.name or field

    @property
    def has_default(self) -> bool:
        """Whether there is a value if the file has none."""
        return self.default is not msgspec.UNSET

    def read(self, section: TOMLTableReader, field: str, scope: Scope) -> object:
        """Read the value, and note problems in the section."""
        raise NotImplementedError

    def fallback(self, section: TOMLTableReader, scope: Scope) -> object:
        """Return the value for a file that has none; None if the section has problems already."""
        if not callable(self.default):
            return self.default
        return self.default(scope) if section.has_no_problems else None


class Key(KeyDeclaration, frozen=True, kw_only=True):
    """A key with one value, required unless it has a default or the key `instead` is there."""

    # If the key is declared by an annotation, its parser replaces this default.
    kind: ValueParser[Any] = values.SWITCH
    instead: str = ""

    def read(self, section: TOMLTableReader, field: str, scope: Scope) -> object:
        """Read the value, and make its paths absolute."""
        key = self.key(field)
        if self.has_default:
            default = self.fallback(section, scope)
            resolved = default if default is None else section.resolve(self.kind, default)
            return section.optional(key, self.kind, resolved)
        if self.instead in section.given:
            return section.optional(key, self.kind, None)
        return section.required(key, self.kind)


class Table(KeyDeclaration, frozen=True, kw_only=True):
    """A table [key]. If it has no default, a missing table counts as an empty one."""

    # The `TableSchema`; for a field whose type is a struct, it is made from the struct.
    of: Any = None

    def read(self, section: TOMLTableReader, field: str, scope: Scope) -> object:
        """Read the table."""
        child = section.child(self.key(field))
        if child is None and self.has_default:
            return self.fallback(section, scope)
        return self.of.read(child or section.empty(self.key(field)), scope)


class KeyOrTable(Key, frozen=True, kw_only=True):
    """A key whose value is a single one or a table."""

    of: "TableSchema[Any]"

    def read(self, section: TOMLTableReader, field: str, scope: Scope) -> object:
        """Read the value or the table."""
        key = self.key(field)
        if section.has_table(key):
            return Table(of=self.of).read(section, key, scope)
        return super().read(section, field, scope)


class TableList(Table, frozen=True, kw_only=True):
    """Tables [[key]], at most `max_count`."""

    max_count: int

    def read(self, section: TOMLTableReader, field: str, scope: Scope) -> object:
        """Read the tables, in the order of the file."""
        found = section.items(self.key(field), self.max_count)
        return tuple(self.of.read(item, scope) for item in found)


class TableMap(Table, frozen=True, kw_only=True):
    """Tables [key.NAME], at most `max_count`. The field `name` of each struct has NAME."""

    max_count: int
    names: ValueParser[str] = values.NAME

    def read(self, section: TOMLTableReader, field: str, scope: Scope) -> object:
        """Read the tables, in the order of the file."""
        found = section.children(self.key(field), self.max_count)
        return tuple(self._read_one(name, child, scope) for name, child in found)

    def _read_one(self, name: str, section: TOMLTableReader, scope: Scope) -> object:
        try:
            self.names.read(name)
        except ValueError:
            section.problem(f"the name {name!r}: expected {self.names.expected}")
        return self.of.read(section, scope, name=name)


class FlattenedKeys(Table, frozen=True, kw_only=True):
    """Keys of the table around it, from which `build` makes fields of that table's struct."""


class TableSchema(Generic[T]):
    """The keys of one sort of table: a declaration for each field of the struct `make`.

    A struct of another package, which knows no configuration, gets its declarations as `parts`.
    """

    def __init__(self, make: type[T], parts: Mapping[str, KeyDeclaration] | None = None) -> None:
        self.make = make
        self.parts = dict(_declared(make) if parts is None else parts)
        for each in msgspec.structs.fields(cast("type[msgspec.Struct]", make)):
            part = self.parts.get(each.name)
            if part is not None and not part.has_default and not each.required:
                self.parts[each.name] = msgspec.structs.replace(part, default=each.default)

    def __iter__(self) -> Iterator[tuple[str, KeyDeclaration]]:
        """Yield (field, declaration) of each key, also in groups, in the order of the fields."""
        for field, part in self.parts.items():
            if isinstance(part, FlattenedKeys):
                yield from part.of
            else:
                yield field, part

    def read(self, section: TOMLTableReader, scope: Scope, **given: object) -> T:
        """Read a table. `given` has the fields of the struct that come from no key.

        If there are problems, note them in the section and return None. `load` refuses such a file.
        """
        found: dict[str, Any] = {}
        around = ChainMap(found, cast("dict[str, Any]", scope))
        section.declare(*(part.key(field) for field, part in self))
        for field, part in self:
            found[field] = part.read(section, field, around)
        section.close()
        return self.made(section, found, given)

    def made(self, section: TOMLTableReader, found: Scope, given: Scope) -> T:
        """Make the value of a table from what was `found` in it; None if there were problems."""
        fields = dict(given)
        for field, part in self.parts.items():
            if isinstance(part, FlattenedKeys):
                fields.update(part.of.made(section, found, {}) or {})
            else:
                fields[field] = found[field]
        return cast(
            "T", _checked(self.make(**fields), section) if section.has_no_problems else None
        )


def _checked(made: object, section: TOMLTableReader) -> object:
    """Return the value that a struct builds; None if its keys contradict each other."""
    if hasattr(made, "check"):
        made.check(section)
    if not section.has_no_problems:
        return None
    return made.build() if hasattr(made, "build") else made


def _declared(make: object) -> Iterator[tuple[str, KeyDeclaration]]:
    for field, hint in get_type_hints(make, include_extras=True).items():
        notes = getattr(hint, "__metadata__", ())
        part = next((note for note in notes if isinstance(note, KeyDeclaration)), None)
        text = next((note for note in notes if isinstance(note, str)), "")
        if part is not None and part.text:
            yield field, part
        elif part is not None or text:
            yield field, _completed(part, text, hint)


def _completed(part: KeyDeclaration | None, text: str, hint: object) -> KeyDeclaration:
    kind, base = _type_of(hint)
    if isinstance(part, Table) and part.of is not None:
        return msgspec.structs.replace(part, text=text)
    if isinstance(base, type) and issubclass(base, msgspec.Struct) and kind is None:
        return msgspec.structs.replace(part or Table(), text=text, of=TableSchema(base))
    return msgspec.structs.replace(part or Key(), text=text, kind=kind or _kind_of(base))


def _type_of(hint: object) -> tuple[ValueParser[Any] | None, object]:
    """Return the `ValueParser` of a hint, if any, and the type inside `| None` or a tuple."""
    if get_origin(hint) is Annotated:
        base, *notes = get_args(hint)
        kind = next((note for note in notes if isinstance(note, ValueParser)), None)
        inner, base = _type_of(base)
        return kind or inner, base
    inside = [each for each in get_args(hint) if each not in {type(None), ...}]
    return _type_of(inside[0]) if inside and get_origin(hint) is not Literal else (None, hint)


def _kind_of(base: object) -> ValueParser[Any]:
    if isinstance(base, type) and issubclass(base, Enum):
        return values.member(base)
    if get_origin(base) is Literal:
        return values.word(base)
    if base is bool:
        return values.SWITCH
    raise TypeError(f"{base}: the annotation needs a ValueParser")
