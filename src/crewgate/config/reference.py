"""Describes every key of the configuration from its declaration, for people.

`markdown` makes the reference in the documentation, and `summary` the sentence that `crewgate init`
writes above a key. The module `json_schema` describes the keys for editors.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from crewgate.config.declaration import (
    Key,
    KeyDeclaration,
    KeyOrTable,
    Table,
    TableList,
    TableMap,
    TableSchema,
)
from crewgate.config.model import CONFIG

_SEGMENT = re.compile(r'"[^"]*"|[^.]+')
_INTRODUCTION = """\
NAME in a heading stands for a name that you choose. The last column says when a changed value takes
effect: with a `reload`, as soon as the file has changed, or with a `restart`, when you end
`crewgate serve` and start it again.
"""


class KeyReference(NamedTuple):
    """One key. `default` is in words or is code, and `change` is "reload" or "restart"."""

    name: str
    values: str
    default: str
    text: str
    change: str


class TableReference(NamedTuple):
    """One table of the file. `heading` is "" for the keys before the first table."""

    heading: str
    text: str
    keys: tuple[KeyReference, ...]


def tables() -> list[TableReference]:
    """Describe each table of the file, in the order of the declarations."""
    return list(_tables("", "Keys before the first table.", CONFIG, is_fixed=False))


def markdown() -> str:
    """Render a section for each table of the file, in MyST Markdown, with a row for each key.

    The headings are of the second level.
    """
    return "\n".join([_INTRODUCTION, *(line for table in tables() for line in _section(table))])


def _tables(
    path: str, text: str, table: TableSchema[Any], *, is_fixed: bool
) -> Iterator[TableReference]:
    keys = (_key(field, part, is_fixed) for field, part in table if isinstance(part, Key))
    yield TableReference(path, text, tuple(keys))
    for field, part in table:
        inside = ".".join(filter(None, (path.strip("[]"), part.key(field))))
        heading, more = f"[{inside}]", f" Without the table: {part.absent}." if part.absent else ""
        if isinstance(part, TableMap):
            more = f" At most {part.max_count}; NAME is {part.names.expected}."
            heading = f"[{inside}.NAME]"
        elif isinstance(part, TableList):
            heading, more = f"[[{inside}]]", f" At most {part.max_count}."
        if isinstance(part, Table | KeyOrTable):
            yield from _tables(heading, part.text + more, part.of, is_fixed=part.restart)


def _key(field: str, key: Key, is_fixed: bool) -> KeyReference:  # noqa: FBT001 - of the table
    change = "restart" if is_fixed or key.restart else "reload"
    return KeyReference(key.key(field), key.kind.expected, _default(key), key.text, change)


def _section(table: TableReference) -> Iterator[str]:
    yield f"## `{table.heading}`\n" if table.heading else "## Top of the file\n"
    yield f"{table.text}\n"
    yield "| key | value | default | meaning | change |\n|---|---|---|---|---|"
    yield "".join(map(_row, table.keys))


def _row(key: KeyReference) -> str:
    cells = f"`{key.name}`", *key[1:]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _default(key: Key) -> str:
    """Return the value of a key that the file does not have, in words or as a value."""
    if key.absent:
        return key.absent
    if not key.has_default:
        return f"required, or `{key.instead}`" if key.instead else "required"
    if key.default is None:
        return "none"
    value = key.kind.spell(key.default) if key.kind.spell else key.default
    return f"`{value:g}`" if isinstance(value, float) else f"`{json.dumps(value, default=str)}`"


def summary(path: str, key: str) -> str:
    """Return the first sentence about a key.

    `path` is the table as in its heading, such as 'tool."search.web"', or "" for the top of the
    file. Raises KeyError if there is no such key.
    """
    table = CONFIG
    segments = iter(_SEGMENT.findall(path))
    for segment in segments:
        part = _parts(table)[segment]
        if not isinstance(part, Table):
            raise KeyError(path)
        if isinstance(part, TableMap):
            next(segments)
        table = part.of
    first, dot, rest = _parts(table)[key].text.partition(". ")
    return f"{first}." if dot and rest else first


def _parts(table: TableSchema[Any]) -> dict[str, KeyDeclaration]:
    return {part.key(field): part for field, part in table}
