"""The sorts of values in a configuration file, each with a reader and a description.

A reader takes a value from tomllib, and returns the value for a struct or raises ValueError. It
opens no file.
"""

import re
from collections.abc import Callable, Iterable
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from crewgate import limits
from crewgate.config.toml_table_reader import PEM, ValueParser
from crewgate.config.upstream_origin import STANDARD_PORTS, Scheme, UpstreamOrigin
from crewgate.core.credits import format_credits, parse_credits
from crewgate.core.policy.routing import parse_path
from crewgate.core.policy.scope import TOOL_NAME_SYNTAX, is_pattern, is_tool_name
from crewgate.core.x509 import identity_oids

T = TypeVar("T")
Words = TypeVar("Words", bound=Enum)

Mode = Literal["enforce", "observe"]
MODE_TEXT = (
    '"observe": decide and record, but refuse no call for its tool, price or credits, for a limit '
    "on calls, or because its token names no key; other refusals stay."
)

Binding = Literal["optional", "required"]
BINDING_TEXT = (
    '"required": refuse tokens that name no key (`cnf`), since everyone who reads one can use it. '
    "A token that names a key is good only with that key in any case."
)

_CREW = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
_CLAIM = re.compile(r"[A-Za-z0-9._:/@-]+", re.ASCII)
_FIELD = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110, section 5.6.2, lower case
_HOST = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)  # RFC 1123, section 2.1, and "_"
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # WHATWG URL, "ends in a number"
_TARGET = re.compile(r'/[!-"$-~]*', re.ASCII)  # RFC 9112, section 3.2.1: printable, no fragment
_WEB_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?|\*")
_REGION = re.compile(r"[a-z0-9-]+", re.ASCII)
PRINTABLE = re.compile(r"[ -~]*", re.ASCII)
_CREDITS = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,6})?", re.ASCII)  # core.credits reads it
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PORT_MAX = 65_535
_DNS_NAME_CHARS_MAX = 253  # RFC 1035, section 3.1, without the dot of the root


def string(value: object) -> str:
    """Return a text as it is."""
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one kind of error for every bad value
    return value


def passing(convert: Callable[[object], T], test: Callable[[T], object]) -> Callable[[object], T]:
    """Make a reader that converts a value, and refuses it if it does not pass the test."""

    def read(value: object) -> T:
        converted = convert(value)
        if not test(converted):
            raise ValueError
        return converted

    return read


def matching(pattern: re.Pattern[str], chars_max: int) -> Callable[[object], str]:
    """Make a reader of texts that the pattern describes."""
    return passing(string, lambda text: len(text) <= chars_max and pattern.fullmatch(text))


def text_schema(pattern: re.Pattern[str], chars_max: int | None = None) -> dict[str, object]:
    """Return the JSON Schema of texts that the whole pattern describes."""
    bound = {} if chars_max is None else {"maxLength": chars_max}
    return {"type": "string", "pattern": f"^(?:{pattern.pattern})$", **bound}


def pattern_text(expected: str, pattern: re.Pattern[str], chars_max: int) -> ValueParser[str]:
    """A text that the pattern describes."""
    return ValueParser(expected, matching(pattern, chars_max), text_schema(pattern, chars_max))


def integer(low: int, high: int) -> ValueParser[int]:
    """A whole number within bounds; true does not count as 1."""

    def read(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return ValueParser(f"a whole number from {low} to {high}", read, schema)


def capacity(high: int, low: int = limits.table_records_min) -> ValueParser[int]:
    """A capacity of the table, which finds a slot by masking."""
    kind = integer(low, high)
    read = passing(kind.read, lambda number: number & (number - 1) == 0)
    expected = f"a power of two from {low} to {high}"
    return replace(kind, expected=expected, read=read)


def _number(value: object) -> float:
    # A bool is an int to Python. NaN needs no check, since it is within no bounds.
    if type(value) is int or type(value) is float:
        return value
    raise ValueError


def seconds(high: float, low: float = 0) -> ValueParser[float]:
    """A length of time in seconds, never 0."""

    def read(value: object) -> float:
        number = _number(value)
        if not (number > 0 and low <= number <= high):
            raise ValueError
        return float(number)

    bounds = f"from {low:g} to {high:g}" if low else f"more than 0 and at most {high:g}"
    schema = {"type": "number", "minimum" if low else "exclusiveMinimum": low, "maximum": high}
    return ValueParser(f"seconds, {bounds}", read, schema)


def _share(value: object) -> float:
    number = _share_or_none(value)
    if not number:
        raise ValueError
    return number


def _share_or_none(value: object) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError
    return float(number)


def _switch(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def micro_credits(value: object) -> int:
    """Read decimal text as micro-credits; a TOML float could not be exact."""
    text = string(value)
    try:
        return parse_credits(text)
    except ValueError as error:
        raise ValueError("write digits with at most six decimals") from error


CREDITS_SCHEMA = text_schema(_CREDITS)


def credits_up_to(high: int) -> ValueParser[int]:
    """An amount in micro-credits, which the file has as credits."""
    expected = f'credits as a text such as "2.50", at most "{format_credits(high)}"'
    read = passing(micro_credits, lambda micro: micro <= high)
    return ValueParser(expected, read, CREDITS_SCHEMA, spell=format_credits)


def some_credits_up_to(high: int) -> ValueParser[int]:
    """An amount in micro-credits that is more than 0."""
    kind = credits_up_to(high)

    def read(value: object) -> int:
        micro = kind.read(value)
        if not micro:
            raise ValueError("must be more than 0")
        return micro

    return replace(kind, read=read)


def one_of(words: Iterable[str], make: Callable[[str], T]) -> ValueParser[T]:
    """One of a few words, converted by `make`."""
    known = tuple(words)

    def read(value: object) -> T:
        if not isinstance(value, str) or value not in known:
            raise ValueError
        return make(value)

    return ValueParser(" or ".join(f'"{word}"' for word in known), read, {"enum": list(known)})


def word(literal: Any) -> ValueParser[Any]:  # noqa: ANN401 - a Literal is no type to mypy
    """One of the words of a `Literal`."""
    return one_of(get_args(literal), str)


def member(kind: type[Words]) -> ValueParser[Words]:
    """A member of an enumeration, by its value."""
    values = [each.value for each in kind]
    return replace(one_of(values, kind), spell=lambda each: each.value)


def listed(kind: ValueParser[T], max_count: int, min_count: int = 0) -> ValueParser[tuple[T, ...]]:
    """A list without repetition."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or not min_count <= len(value) <= max_count:
            raise ValueError
        items = tuple(kind.read(item) for item in value)
        if len({(type(item), item) for item in items}) != len(items):
            raise ValueError("an entry is repeated")
        return items

    count = f"{min_count} to {max_count}" if min_count else f"at most {max_count}"
    schema = {
        "type": "array",
        "items": kind.described_schema,
        "minItems": min_count,
        "maxItems": max_count,
        "uniqueItems": True,
    }
    return ValueParser(f"a list of {count}, each {kind.expected}", read, schema)


def _path(value: object) -> Path:
    text = string(value)
    if not text or "\0" in text or PEM in text:
        raise ValueError
    return Path(text)


def _origin(value: object) -> UpstreamOrigin:
    parts = urlsplit(string(value))
    if (
        parts.scheme not in STANDARD_PORTS
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError
    if parts.port == 0 or not parts.hostname or not _HOST.fullmatch(parts.netloc):
        raise ValueError
    scheme = cast("Scheme", parts.scheme)
    port = parts.port or STANDARD_PORTS[scheme]
    return UpstreamOrigin(scheme, _host_name(parts.hostname), port)


def _base_url(value: object) -> tuple[UpstreamOrigin, str]:
    """Return the origin of a URL, and its path, to which paths of tools are relative."""
    text = string(value)
    path = urlsplit(text).path
    origin = _origin(text.removesuffix(path) if path else text)
    base = path.removesuffix("/")
    if base and (parse_path(base).rank or base.endswith("/")):
        raise ValueError
    return origin, base


def _control_url(value: object) -> str:
    text = string(value)
    parts = urlsplit(text)
    is_place = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    if not is_place or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError
    is_more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if is_more or len(text) > limits.ocsp_url_chars_max:
        raise ValueError
    return f"https://{parts.netloc}"


def _host_name(value: object) -> str:
    """Read a DNS name or an IP address.

    A text that ends in a number but is not an address ("10.1", "0x7f.1") is refused: some programs
    would take it for an address, and none for a name.
    """
    text = string(value).lower()
    labels = text.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]) or ":" in text:
        return str(ip_address(text))
    if len(text) > _DNS_NAME_CHARS_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError
    return text


def _route_path(value: object) -> str:
    text = string(value)
    parse_path(text)
    return text


def _endpoint_path(value: object) -> str:
    text = _route_path(value)
    if "{" in text or "*" in text:
        raise ValueError
    return text


def _address(value: object) -> str:
    return str(ip_address(string(value)))


def _field(value: object) -> str:
    return matching(_FIELD, limits.claim_chars_max)(string(value).lower())


def _identity_oid(value: object) -> str:
    text = string(value)
    identity_oids.check_oid(text)
    return text


NAME = pattern_text(
    f"a name of at most {limits.name_chars_max} characters: a-z, 0-9, _ and -, beginning with a "
    "letter or digit",
    _CREW,
    limits.name_chars_max,
)
CLAIM = pattern_text(
    f"a text of 1 to {limits.claim_chars_max} characters of A-Z a-z 0-9 . _ : / @ -",
    _CLAIM,
    limits.claim_chars_max,
)
TOOL_NAME = ValueParser(
    'a tool\'s name: segments of letters, digits, _ and - joined by dots, such as "search.web"',
    passing(string, is_tool_name),
    text_schema(TOOL_NAME_SYNTAX, limits.claim_chars_max),
)
TOOL_PATTERN = ValueParser(
    'a tool\'s name, or a beginning of names such as "search.*"',
    passing(string, is_pattern),
    text_schema(re.compile(rf"{TOOL_NAME_SYNTAX.pattern}(?:\.\*)?"), limits.claim_chars_max),
)
ROUTE_PATH = ValueParser(
    'a path such as "/search", "/items/{id}" or "/files/*"',
    _route_path,
    {"type": "string", "pattern": "^/"},
)
ENDPOINT_PATH = ValueParser(
    'one path such as "/files", without {} and *',
    _endpoint_path,
    {"type": "string", "pattern": "^/[^{}*]*$"},
)
METHOD = one_of(_METHODS, str)
PATH = ValueParser(
    "a path, relative to this file",
    _path,
    {"type": "string", "minLength": 1},
    resolve=lambda path, folder: folder / path,
)
ADDRESS = ValueParser('an IP address such as "127.0.0.1" or "::"', _address)
PORT = integer(1, _PORT_MAX)
HOST = pattern_text('a host with or without a port, such as "gateway.example"', _HOST, 255)
FIELD = ValueParser("the name of a header field", _field)
REGION = pattern_text('a region such as "eu-central-1"', _REGION, 64)
PREFIX = pattern_text("printable ASCII", PRINTABLE, 64)
IDENTITY_OID = ValueParser(
    "an object identifier: 3 to 63 numbers below 2^31, with dots between them",
    _identity_oid,
    text_schema(identity_oids.SYNTAX),
)
CONTROL_URL = ValueParser('"https://HOST:PORT", without path, user or query', _control_url)
HOST_NAME = ValueParser("a DNS name or an IP address, without a port", _host_name)
TARGET = pattern_text(
    f'a path such as "/health", of at most {limits.health_path_chars_max} printable characters',
    _TARGET,
    limits.health_path_chars_max,
)
WEB_ORIGIN = pattern_text(
    'an origin as browsers send it, such as "https://app.example", in lower case, or "*"',
    _WEB_ORIGIN,
    255,
)
SHARE = ValueParser(
    "a share, more than 0 and at most 1",
    _share,
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
)
SHARE_OR_NONE = ValueParser(
    "a share from 0 to 1", _share_or_none, {"type": "number", "minimum": 0, "maximum": 1}
)
SWITCH = ValueParser("true or false", _switch, {"type": "boolean"})
ORIGIN = ValueParser('a URL such as "http://127.0.0.1:9000", without path, query or user', _origin)
BASE_URL = ValueParser('a URL such as "https://api.example/v1", without query or user', _base_url)

Address = Annotated[str, ADDRESS]
Credits = Annotated[int, credits_up_to(limits.quota_micro_max)]
Fields = Annotated[tuple[str, ...], listed(FIELD, limits.fields_max)]
FilePath = Annotated[Path, PATH]
Hosts = Annotated[tuple[str, ...], listed(HOST, limits.fields_max)]
HostName = Annotated[str, HOST_NAME]
Name = Annotated[str, NAME]
Port = Annotated[int, PORT]
