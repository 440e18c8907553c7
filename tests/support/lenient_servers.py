"""What servers make of a path, one step each, and routes as regular expressions: slow and obvious.

Shares no code with the gateway: a tool's server reads a path in any of these ways, in any order.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from crewgate.core.policy.routing import RoutePattern


def remove_dots(path: bytes) -> bytes:
    """RFC 3986, section 5.2.4, and what file systems do."""
    end = b"/" if path.endswith((b"/", b"/.", b"/..")) else b""
    clean = posixpath.normpath(b"/" + path.lstrip(b"/"))
    return clean + end if clean != b"/" else clean


def overlong(path: bytes) -> bytes:
    """A decoder that takes two bytes for an ASCII character (C0 AE is a dot)."""
    return re.sub(
        rb"[\xc0\xc1][\x80-\xbf]", lambda m: bytes([(m[0][0] & 1) << 6 | m[0][1] & 0x3F]), path
    )


def _in_unicode(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    def step(path: bytes) -> bytes:
        return change(path.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    return step


def _trimmed(path: str) -> str:
    """Blanks of any alphabet and control characters round each name, and dots and colons after."""
    return "/".join([_right(_left(name)) for name in path.split("/")])


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == "Cc"


def _left(name: str) -> str:
    while name and _is_blank(name[0]):
        name = name[1:]
    return name


def _right(name: str) -> str:
    while name and (_is_blank(name[-1]) or name[-1] in ".:"):
        name = name[:-1]
    return name


# Beside what Unicode has in its category of formats: selectors, fillers and joiners.
_UNSEEN = {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810)}
_UNSEEN |= {*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000), 0x2065}


def _drawn(path: str) -> str:
    """Without characters that have no width."""
    return "".join([c for c in path if unicodedata.category(c) != "Cf" and ord(c) not in _UNSEEN])


STEPS: dict[str, Callable[[bytes], bytes]] = {
    "percent-decoding": unquote_to_bytes,
    "decoding of letters": lambda path: re.sub(
        rb"%[0-9A-Fa-f]{2}",
        lambda m: c if (c := unquote_to_bytes(m[0])).isalnum() or c in b"-._~" else m[0],
        path,
    ),
    "dot segments": remove_dots,
    "merged slashes": lambda path: re.sub(rb"//+", b"/", path),
    "backslashes": lambda path: path.replace(b"\\", b"/"),
    "parameters": lambda path: re.sub(rb";[^/]*", b"", path),
    "query": lambda path: path.partition(b"?")[0],
    "fragment": lambda path: path.partition(b"#")[0],
    "end of a C string": lambda path: path.partition(b"\0")[0],
    "blanks at an end": lambda path: re.sub(rb"[ .\t\r\n]+(?=/|\Z)", b"", path),
    "forms": lambda path: path.replace(b"+", b" "),
    "trimmed names": _in_unicode(_trimmed),
    "no width": _in_unicode(_drawn),
    "streams of NTFS": _in_unicode(lambda path: re.sub(r":[^:/]*:\$\w+(?=/|\Z)", "", path)),
    "sessions": lambda path: re.sub(rb"/\((?:[A-Za-z]\([^()/]*\))+\)", b"", path),
    "overlong UTF-8": overlong,
    "compatibility": _in_unicode(lambda path: unicodedata.normalize("NFKC", path)),
}
FORMATS = (  # taken away at most once: nobody cuts twice
    lambda path: re.sub(rb"\.[^./]*\Z", b"", path),
    lambda path: re.sub(rb"\.[^/]*\Z", b"", path),
)


CASES = (  # of servers that compare without case
    _in_unicode(str.lower),
    _in_unicode(lambda path: path.upper().lower()),
    _in_unicode(str.casefold),
)


def closure(path: bytes) -> set[bytes]:
    """The path, and all that any number of steps in any order make of it."""
    seen = _steps({path})
    return _steps(seen | {cut(one) for one in seen for cut in FORMATS})


def _steps(new: set[bytes]) -> set[bytes]:
    seen: set[bytes] = set()
    while new:
        seen |= new
        assert len(seen) < 20_000, "too many readings"
        new = {step(path) for path in new for step in STEPS.values()} - seen
    return seen


def matched(
    routes: list[RoutePattern],
    method: str,
    path: bytes,
    *,
    caseless: bool = False,
    slash: bool = True,
) -> str:
    """The name of the route that answers, as a list of regular expressions would say; "" if none.

    `caseless`: by a server that ignores case; not `slash`: by one that ignores a last slash.
    """
    if method == "HEAD":
        method = "GET"
    flags = (re.IGNORECASE if caseless else re.NOFLAG) | re.DOTALL
    found: list[tuple[int, int, str]] = []
    for route in routes:
        body = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route.path).removesuffix(r"\*"))
        prefix = route.path.endswith("/*")
        if prefix:
            body += ".*"
        elif not slash:
            body = body.removesuffix("/") + "/?"
        if route.method == method and re.fullmatch(body.encode(), path, flags):
            rank = 2 if prefix else int("{" in route.path)
            found.append((rank, -route.path.count("/"), route.name))
    return min(found)[2] if found else ""


def served(routes: list[RoutePattern], method: str, path: bytes) -> set[str]:
    """The names of all routes that some server would take the path for."""
    names: set[str] = set()
    for reading in closure(path):
        for slash in (False, True):
            names.add(matched(routes, method, reading, slash=slash))
            for case in CASES:
                names.add(matched(routes, method, case(reading), caseless=True, slash=slash))
    return names - {""}
