"""Sorts the resources of an MCP endpoint into classes, which tokens allow, by their URIs.

A pattern is a URI, or a beginning of URIs with "*" at its end. The longest pattern that matches
decides. A URI that no pattern matches is of the class `other`.

Servers read a URI in different ways: some decode it, some resolve dot segments, some ignore case,
parameters, or slashes that are repeated. So a URI has a class only if all these readings have the
same class. Any other URI is refused, also for callers who may read `other`: to the server it can be
a resource of another class. An endpoint without classes has no such URIs.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from crewgate import limits
from crewgate.core.policy.path_variants import has_dot_segment, loose_segment

OTHER = "other"

_ANY = "*"
_AFTER_ALL = "\x7f"  # follows each character of a URI
# RFC 3986: a scheme, then characters that a URI may have.
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
)
# A URI that all servers read in the same way but for case and slashes, unless a dot is at the edge
# of a segment, or its host is "localhost". Most URIs are such, and take a fifth of the time.
_TAME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~/!$&'()*,=-]*")
_EDGED = re.compile(r"[/:.]\.|\.(?:[/.]|\Z)|//localhost(?![^/])", re.IGNORECASE)
_USER_INFO = re.compile(r"[^/?#]*//[^/?#]*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PARAMETERS = re.compile(r";[^/?#]*")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_SLASHES = re.compile(r"/+")
_SEGMENT_START = re.compile(r"(?<=/)[\s+]++")  # some servers trim blanks; in forms, "+" is one
# Windows ignores it; an empty port follows ":". A search begins at the start of a run only, and is
# possessive: else it would go over a long run once from each of its characters.
_SEGMENT_END = re.compile(r"(?<![\s.:+])[\s.:+]++(?=/|\Z)")
_DEFAULT_PORT = re.compile(r"\A(http:/[^/?#]*):80(?=[/?#]|\Z)|\A(https:/[^/?#]*):443(?=[/?#]|\Z)")
_LOCALHOST = re.compile(r"\Afile:/localhost(?=/)")  # RFC 8089, section 2
_EXPRESSION = "{"  # begins an expression of a template (RFC 6570)


class AmbiguousURIError(ValueError):
    """Servers can read a URI in ways that have different classes, or it is not a URI."""


class _Patterns(NamedTuple):
    """The patterns in one spelling, with the class of each."""

    exact: dict[str, str]
    prefixes: dict[str, str]
    lengths: tuple[int, ...]  # of the prefixes, the longest first

    def class_of(self, text: str, name: str) -> str:
        """Return the class of a text; `name` is the text as exact patterns spell it."""
        found = self.exact.get(name)
        if found is not None:
            return found
        for length in self.lengths:
            found = self.prefixes.get(text[:length])
            if found is not None:
                return found
        return OTHER


class ResourceClasses:
    """The classes of one endpoint."""

    def __init__(self, patterns: Mapping[str, Sequence[str]]) -> None:
        """Take the patterns of each class.

        Raises:
            ValueError: Servers can read a pattern in different ways, or two classes have patterns
                that some servers cannot tell apart.
        """
        literals = [
            (pattern.removesuffix(_ANY), pattern.endswith(_ANY), each)
            for each, listed in patterns.items()
            for pattern in listed
        ]
        for literal, _, _ in literals:
            if _ANY in literal:
                raise ValueError(f'{literal!r}: "*" stands for further characters only at the end')
            _check(literal)
        self._as_written = _compiled(literals)
        self._sorted = sorted({(literal, each) for literal, _, each in literals})
        self._loosened = _compiled(
            [
                (_loosened(spelled) if is_prefix else _name(_loosened(spelled)), is_prefix, each)
                for literal, is_prefix, each in literals
                for spelled in {literal, unquote(literal)}
            ]
        )

    def class_of(self, uri: str) -> str:
        """Return the class of a URI.

        Raises:
            AmbiguousURIError: Servers can read the URI in ways that have different classes.
        """
        if len(uri) > limits.mcp_uri_chars_max:
            raise AmbiguousURIError(f"longer than {limits.mcp_uri_chars_max} characters")
        if not (self._as_written.exact or self._as_written.lengths):
            return OTHER
        found = self._as_written.class_of(uri, uri)
        for loosened in _loosened_readings(uri):
            if self._loosened.class_of(loosened, _name(loosened)) != found:
                raise AmbiguousURIError("servers can read it as a resource of another class")
        return found

    def classes_of_template(self, template: str) -> frozenset[str]:
        """Return the classes that URIs of a template (RFC 6570) can have.

        All that is known of such a URI is its beginning, up to the first expression. The set is
        empty if servers can read that beginning in ways that have different classes.
        """
        beginning = template.partition(_EXPRESSION)[0]
        classes = self._as_written
        if len(template) > limits.mcp_uri_chars_max:
            return frozenset()
        if not (classes.exact or classes.lengths):
            return frozenset({OTHER})
        if not beginning:
            return frozenset({OTHER, *classes.exact.values(), *classes.prefixes.values()})
        try:
            found = {self.class_of(beginning)}
        except AmbiguousURIError:
            return frozenset()
        if beginning != template:
            first = bisect_left(self._sorted, (beginning, ""))
            after = bisect_left(self._sorted, (beginning + _AFTER_ALL, ""))
            found |= {each for _, each in self._sorted[first:after]}
        return frozenset(found)


def _compiled(literals: Sequence[tuple[str, bool, str]]) -> _Patterns:
    exact: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for literal, is_prefix, each in literals:
        known = (prefixes if is_prefix else exact).setdefault(literal, each)
        if known != each:
            raise ValueError(
                f"servers can take a URI of the class {each} for one of the class {known}: "
                f"both have a pattern like {literal!r}"
            )
    return _Patterns(exact, prefixes, tuple(sorted({*map(len, prefixes)}, reverse=True)))


def _check(uri: str) -> None:
    """Raise AmbiguousURIError for a text that servers resolve or repair, each in its own way."""
    if not _URI.fullmatch(uri):
        raise AmbiguousURIError("not a URI with the characters of RFC 3986")
    if _USER_INFO.match(uri):
        raise AmbiguousURIError("it has a user name before its host")
    try:
        decoded = unquote(uri, errors="strict")
    except UnicodeDecodeError:
        raise AmbiguousURIError("its encoded octets are not UTF-8") from None
    if _CONTROL.search(decoded):
        raise AmbiguousURIError("it has encoded control characters")
    below_scheme = "/" + decoded.partition(":")[2]
    if has_dot_segment(below_scheme.replace("\\", "/").encode()):
        raise AmbiguousURIError("it has dot segments, or octets that are encoded twice")


def _readings(uri: str) -> Iterator[str]:
    """Yield the URI as servers may understand it: decoded, and without parameters or a query."""
    spellings = {uri, unquote(uri)}
    spellings |= {_QUERY.sub("", each) for each in spellings}
    spellings |= {_PARAMETERS.sub("", each) for each in spellings}
    yield from spellings


def _loosened_readings(uri: str) -> Iterable[str]:
    """Return all readings without what some servers ignore; AmbiguousURIError as in `_check`."""
    if _TAME.fullmatch(uri) and not _EDGED.search(uri):
        return (_SLASHES.sub("/", uri.lower()),)
    _check(uri)
    return {_loosened(reading) for reading in _readings(uri)}


def _loosened(uri: str) -> str:
    """Return a URI without what some servers ignore."""
    scheme, _, text = uri.partition(":")
    if not text.isascii():
        normal = unicodedata.normalize("NFKC", text)
        text = "/".join(
            each if each.isascii() else loose_segment(each).decode() for each in normal.split("/")
        )
    text = _SLASHES.sub("/", _SEGMENT_START.sub("", text.lower().replace("\\", "/")))
    head, slash, last = text.rpartition("/")
    text = _SEGMENT_END.sub("", head + slash) + last
    text = f"{scheme.lower()}:{text}"
    return _LOCALHOST.sub("file:", _DEFAULT_PORT.sub(r"\1\2", text))


def _name(loosened: str) -> str:
    """Return a loosened URI as the name of one resource: its end does not count either."""
    return _SEGMENT_END.sub("", loosened).rstrip("/")
