"""Reads a request as any MCP server could: slow, lenient, and independent of the gateway.

It knows how parsers differ: which of two members with one name counts, whether case, `_` and U+0000
in a name count, which charset and coding the body has, and which of two headers counts.
"""

import base64
import binascii
import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crewgate.core.http_types import HeaderField

ABSENT = "absent"
VERSION = "io.modelcontextprotocol/protocolVersion"
PATHS = {
    "method": ("method",),
    "id": ("id",),
    "name": ("params", "name"),
    "uri": ("params", "uri"),
    "taskId": ("params", "taskId"),
    "cursor": ("params", "cursor"),
    "version": ("params", "_meta", VERSION),
}
# Go and Java ignore case, and take these letters for ASCII ones.
_LETTERS = str.maketrans({"\u017f": "s", "\u212a": "k", "\u0130": "i", "\u0131": "i"})
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: name.translate(_LETTERS).lower(),
    lambda name: re.sub("_(.)", lambda match: match[1].upper(), name),
    lambda name: name.partition("\0")[0],
)


class Members(list[tuple[str, Any]]):
    """The members of an object, each as often as it is written."""


def bodies(headers: Iterable[HeaderField], body: bytes) -> Iterator[str]:
    """Yield the texts that servers could take the body for."""
    fields = list(headers)
    contents = {body}
    if any(name == b"content-encoding" for name, _ in fields):
        for decode in (gzip.decompress, zlib.decompress, lambda raw: zlib.decompress(raw, -15)):
            try:
                contents.add(decode(body))
            except (OSError, EOFError, zlib.error):
                continue
    charsets = {"utf-8", "utf-8-sig"}
    for name, value in fields:
        if name == b"content-type":
            charsets |= set(
                re.findall(r"charset\s*=\s*\"?([\w-]+)", value.decode("latin-1"), re.IGNORECASE)
            )
    for content in contents:
        for charset in charsets:
            try:
                yield codecs.decode(content, charset)
            except (LookupError, UnicodeError, TypeError):
                continue


def readings(text: str) -> dict[str, set[Any]]:
    """The values that servers could find at `PATHS` in a text, as JSON; none if it is no JSON."""
    try:
        message = json.loads(text, object_pairs_hook=Members)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(message, Members):
        return {"method": {"a batch"}}
    return {name: set(_at(message, path)) for name, path in PATHS.items()}


def _at(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if not path:
        yield json.dumps(value, sort_keys=True) if value is not None else ABSENT
        return
    for spelt in SPELLINGS:
        found = []
        if isinstance(value, Members):
            found = [each for name, each in value if spelt(name) == spelt(path[0])]
        if not found:
            yield ABSENT
        for each in found[:1] + found[-1:]:
            yield from _at(each, path[1:])


def has_duplicates(text: str) -> bool:
    """Whether an object at any level has two members with one name."""
    found = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        found.append(len({name for name, _ in pairs}) != len(pairs))

    json.loads(text, object_pairs_hook=note)
    return any(found)


def header_readings(headers: Iterable[HeaderField], wanted: bytes) -> set[str]:
    """The values that servers could read in a header, after base64; WSGI takes `_` for `-`."""
    found = [value for name, value in headers if name.lower().replace(b"_", b"-") == wanted]
    if not found:
        return {ABSENT}
    return {_decoded(value) for value in (found[0], found[-1], b", ".join(found))}


def _decoded(value: bytes) -> str:
    text = value.strip().decode("latin-1")
    match = re.fullmatch(r"=\?base64\?(.*)\?=", text, re.IGNORECASE | re.DOTALL)
    if match is None:
        return text
    try:
        return base64.b64decode(match[1] + "==").decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
