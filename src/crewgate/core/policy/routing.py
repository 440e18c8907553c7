"""Finds the tool of a method and a path: exact, then `{parameter}`, then the longest prefix.

The router refuses two routes of equal rank that can match one request, so a request never has two
answers. A path matches nothing if servers are known to read it in different ways, or if a lenient
server (`path_variants`) would take it for another tool's path: the path that the gate decides about
must be the path that the tool's server serves. Tools are indices here.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import combinations_with_replacement

import msgspec

from crewgate import limits
from crewgate.core.policy.path_variants import (
    decodings,
    has_dot_segment,
    is_tame,
    loose_segment,
    variants,
)

UNKNOWN = -1

# Literals of a route: pchar of RFC 3986, section 3.3, without "%" and ";".
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+", re.ASCII)
_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}", re.ASCII)
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})?")
_RAW = bytes(octet for octet in range(0x21, 0x7F) if octet not in b"?#")
# Raw or encoded, servers differ on these (Spring's StrictHttpFirewall refuses the same set).
_AMBIGUOUS = re.compile(rb"[;\\%\x00-\x1f\x7f]|//|/\.{1,2}(?:/|\Z)")


class RoutePattern(msgspec.Struct, frozen=True):
    """One line of the route table; errors call it `name`.

    It matches on `hosts` only, each with its port or for any port; without `hosts`, on every host.
    """

    method: str
    path: str
    name: str
    hosts: tuple[str, ...] = ()


class PathPattern(msgspec.Struct, frozen=True):
    """A route's path. A segment is None for a parameter; `prefix`: more segments follow (`/*`)."""

    segments: tuple[bytes | None, ...]
    prefix: bool

    @property
    def rank(self) -> int:
        """The order of the search: 0 for exact, 1 with parameters, 2 for a prefix."""
        return 2 if self.prefix else int(None in self.segments)

    @property
    def shape(self) -> tuple[int, ...]:
        """The positions of the literal segments."""
        return tuple(i for i, segment in enumerate(self.segments) if segment is not None)


def parse_path(text: str) -> PathPattern:
    """Return the pattern of a route's path. ValueError says what is wrong with it."""
    if not text.startswith("/") or len(text) > limits.route_chars_max:
        raise ValueError(f'a path begins with "/" and has at most {limits.route_chars_max} bytes')
    *head, last = text[1:].split("/")
    prefix = last == "*"
    segments = [_segment(word, text) for word in head]
    if not prefix:
        segments.append(_segment(last, text) if last else b"")
    return PathPattern(tuple(segments), prefix)


def _segment(word: str, text: str) -> bytes | None:
    if _PARAMETER.fullmatch(word):
        return None
    literal = _LITERAL.fullmatch(word) and "*" not in word and word not in (".", "..")
    if not literal:
        raise ValueError(
            f'segment "{word}" of "{text}": write plain characters, {{name}} for one whole '
            "segment, or * as the whole last segment"
        )
    return word.encode()


class _Rank:
    """The patterns of one rank and method, by length, by shape and by literals.

    A search looks up each shape once, however many routes there are.
    """

    def __init__(self) -> None:
        self._tools: dict[int, dict[tuple[int, ...], dict[tuple[bytes, ...], int]]] = {}

    def add(self, pattern: PathPattern, tool: int) -> None:
        shape = pattern.shape
        literals = tuple(segment for segment in pattern.segments if segment is not None)
        self._tools.setdefault(len(pattern.segments), {}).setdefault(shape, {})[literals] = tool

    def find(self, segments: list[bytes], length: int) -> int:
        """Return the tool of a pattern of `length` segments that matches the first `length`."""
        empty = {at for at in range(length) if not segments[at]} if b"" in segments else None
        for shape, tools in self._tools.get(length, {}).items():
            if empty and not empty.issubset(shape):
                continue  # a parameter does not match an empty segment
            tool = tools.get(tuple([segments[i] for i in shape]), UNKNOWN)
            if tool != UNKNOWN:
                return tool
        return UNKNOWN

    def lengths(self) -> list[int]:
        """Return the lengths of all patterns, longest first."""
        return sorted(self._tools, reverse=True)


class _Method:
    def __init__(self, patterns: Iterable[tuple[int, PathPattern]]) -> None:
        self._exact, self._parameter, self._prefix = ranks = (_Rank(), _Rank(), _Rank())
        for tool, pattern in patterns:
            ranks[pattern.rank].add(pattern, tool)
        self._lengths = self._prefix.lengths()

    def find(self, segments: list[bytes], *, slash: bool = False) -> int:
        """Return the tool; `slash`: an empty segment follows, which only a prefix matches."""
        for rank in (self._exact, self._parameter):
            tool = rank.find(segments, len(segments))
            if tool != UNKNOWN:
                return tool
        for length in self._lengths:
            if length < len(segments) + slash:
                tool = self._prefix.find(segments, length)
                if tool != UNKNOWN:
                    return tool
        return UNKNOWN


def named_host(authority: bytes, hosts: Container[bytes]) -> bytes | None:
    """Return the entry of `hosts` (lower case) for an authority, with its port or without; or None.

    A port may be empty (RFC 3986, section 3.2.3), and a name may end with the root's dot.
    """
    authority = authority.lower()
    if authority in hosts:
        return authority
    host, colon, port = authority.rpartition(b":")
    if not colon or (port and not port.isdigit()):
        host, port = authority, b""
    host = host.removesuffix(b".")
    full = b"%b:%b" % (host, port) if port else host
    return next((each for each in (full, host) if each in hosts), None)


class Router:
    """The route table. A tool's index is the position of its route in `routes`."""

    def __init__(self, routes: Iterable[RoutePattern]) -> None:
        """ValueError names a malformed route, or two routes that one request could match."""
        given = dict(enumerate(routes))
        of = {at: {host.lower().encode() for host in route.hosts} for at, route in given.items()}
        hosts = set().union(*of.values())
        if len(hosts) > limits.route_hosts_max:
            raise ValueError(f"{len(hosts)} hosts; at most {limits.route_hosts_max} are possible")
        self._anywhere = _Table({at: route for at, route in given.items() if not route.hosts})
        self._hosted = {
            host: _Table(
                {at: each for at, each in given.items() if not of[at] or named_host(host, of[at])},
                f" at {host.decode()}",
            )
            for host in sorted(hosts)
        }

    def find(self, method: bytes, path: bytes, authority: bytes = b"") -> int:
        """Return the index of the tool; UNKNOWN if there is none.

        `path` is the path as it was sent, without the query; `authority` is the host, with or
        without a port. HEAD finds the tool of GET (RFC 9110, section 9.3.2).
        """
        return self._table(self.host(authority)).find(method, path)

    def host(self, authority: bytes) -> bytes | None:
        """Return the host whose routes serve an authority; None for those of every other host."""
        return named_host(authority, self._hosted) if self._hosted else None

    def literal_routes(self, host: bytes | None) -> Mapping[tuple[bytes, bytes], int]:
        """Return the tools of the routes without a parameter and without `/*`, by method and path.

        `find` returns the same tool for such a method and path; `host` is what `host` returns.
        """
        return self._table(host).literal_routes

    def _table(self, host: bytes | None) -> "_Table":
        return self._anywhere if host is None else self._hosted[host]


class _Table:
    """The routes of one host, by the index of their tool."""

    def __init__(self, routes: dict[int, RoutePattern], where: str = "") -> None:
        """`where` names the host in errors."""
        given, tools = list(routes.values()), list(routes)
        patterns = [parse_path(route.path) for route in given]
        loose = [_loose(pattern) for pattern in patterns]
        for first, second in _rivals(given, loose):
            raise ValueError(
                f"{second.name} ({second.method} {second.path}) and "
                f"{first.name} ({first.method} {first.path}) can match one request{where}, "
                "and neither goes before the other (servers ignore case and a last slash); "
                "make one of them more exact"
            )
        self.literal_routes = {
            (route.method.encode(), route.path.encode()): tool
            for tool, route, pattern in zip(tools, given, patterns, strict=True)
            if not pattern.rank
        }
        self._methods = _by_method(tools, given, patterns)
        self._loose = _by_method(tools, given, loose)
        self._are_tame = patterns == loose

    def find(self, method: bytes, path: bytes) -> int:
        """Return what `Router.find` returns for this host."""
        if method == b"HEAD":
            method = b"GET"
        tool = self.literal_routes.get((method, path), UNKNOWN)
        if tool != UNKNOWN or method not in self._methods:
            return tool
        plain = plain_path(path)
        if plain is None:
            return UNKNOWN
        tool = self._methods[method].find(plain[1:].split(b"/"))
        if tool == UNKNOWN or self._is_of_another(tool, method, path, plain):
            return UNKNOWN
        return tool

    def _is_of_another(self, tool: int, method: bytes, path: bytes, plain: bytes) -> bool:
        """Return whether a lenient server could take the path of `tool` for another tool's path."""
        if self._are_tame and is_tame(path):
            return False
        if has_dot_segment(plain):
            return True
        strict, loose = self._methods[method], self._loose[method]
        mine = {tool, UNKNOWN}
        return any(
            (spelling != plain and strict.find(spelling[1:].split(b"/")) not in mine)
            or any(
                loose.find(names, slash=slash) not in mine for names, slash in variants(spelling)
            )
            for spelling in decodings(path, plain)
        )


def _by_method(
    tools: list[int], routes: list[RoutePattern], patterns: list[PathPattern]
) -> dict[bytes, _Method]:
    return {
        method.encode(): _Method(
            (tool, pattern)
            for tool, route, pattern in zip(tools, routes, patterns, strict=True)
            if route.method == method
        )
        for method in {route.method for route in routes}
    }


def _loose(pattern: PathPattern) -> PathPattern:
    """Return the pattern in the form that `variants` are compared with."""
    segments = [segment and loose_segment(segment.decode()) for segment in pattern.segments]
    return PathPattern(tuple([segment for segment in segments if segment != b""]), pattern.prefix)


def plain_path(path: bytes) -> bytes | None:
    """Return the path without percent-encoding; None if servers would read different paths.

    Encoded and plain spellings are one path (RFC 3986, section 6.2.2), so they have one tool.
    """
    if not path.startswith(b"/") or path.translate(None, _RAW):
        return None
    if b"%" in path:
        path = _ENCODED.sub(_decoded, path)
        if not _is_utf8(path):
            return None
    return None if _AMBIGUOUS.search(path) else path


def _is_utf8(path: bytes) -> bool:
    """Return whether a path is UTF-8 without overlong forms.

    To a lenient server the overlong C0 AE is a dot (RFC 3629, section 10).
    """
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(match: re.Match[bytes]) -> bytes:
    """Return the octet, or "%" for one that would change the structure of the path.

    A path with "%" is ambiguous, so it matches nothing.
    """
    octet = bytes.fromhex(match[1].decode()) if match[1] else b"%"
    return b"%" if octet in b"/." else octet


def _rivals(
    routes: list[RoutePattern], patterns: list[PathPattern]
) -> Iterator[tuple[RoutePattern, RoutePattern]]:
    """Yield the pairs of routes of equal rank that one request could match, earlier route first.

    One request can match two patterns of one length if the literals at the positions that both have
    are equal. So this pairs shapes and looks up literals: thousands of routes take milliseconds.
    """
    alike: dict[tuple[object, ...], dict[tuple[int, ...], list[int]]] = {}
    for number, (route, pattern) in enumerate(zip(routes, patterns, strict=True)):
        rank = (route.method, pattern.rank, len(pattern.segments))
        alike.setdefault(rank, {}).setdefault(pattern.shape, []).append(number)
    for shapes in alike.values():
        for first, second in combinations_with_replacement(shapes, 2):
            common = [place for place in first if place in second]
            seen: dict[tuple[bytes | None, ...], int] = {}
            for number in shapes[first]:
                seen.setdefault(_literals(patterns[number], common), number)
            for number in shapes[second]:
                other = seen.get(_literals(patterns[number], common), number)
                if other != number:
                    yield routes[min(other, number)], routes[max(other, number)]


def _literals(pattern: PathPattern, places: list[int]) -> tuple[bytes | None, ...]:
    return tuple([pattern.segments[place] for place in places])
