"""Whether a path in an argument is inside a folder, for every server that could read the path.

Servers decode `%2e`, take a backslash for a slash, join `..`, or map characters to others. So a
path that two servers could read in two ways is inside no folder. Symbolic links are the server's:
nothing in a path shows them.
"""

import re
import unicodedata
from collections.abc import Iterable

from crewgate import limits

# Controls, a backslash, and the escapes of ".", "/", "\", "%" and U+0000. Then characters that a
# server on Windows may map to a slash or a backslash ("best fit"), which NFKC does not.
_AMBIGUOUS = re.compile(
    "[\x00-\x1f\x7f\\\\\u00a5\u20a9\u2044\u2215\u2216\u29f5\u29f8\u29f9]|%(?:2[ef5]|5c|00)",
    re.IGNORECASE,
)
_SPECIAL = re.compile(r"[/\\.%:;~]")
_START = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:/{0,3}|/)?")  # of a URL, or of an absolute path
_HERE = "."  # the folder in which a server resolves relative paths


def is_inside(path: str, folders: Iterable[str]) -> bool:
    """Return whether a path is one of the folders, or is below one, as they are written.

    A folder may be a URL such as "file:///srv/data". The folder "." holds relative paths.
    """
    if len(path) > limits.argument_path_chars_max or _AMBIGUOUS.search(path):
        return False
    # A character such as U+FF0F is a slash for a server that normalizes names (NFKC).
    normal = path if path.isascii() else unicodedata.normalize("NFKC", path)
    if len(_SPECIAL.findall(normal)) != len(_SPECIAL.findall(path)):
        return False
    return any(_is_in(path, folder) for folder in folders)


def check_folder(folder: str) -> None:
    """Check a folder of a configuration; raise ValueError if no path could be inside it."""
    is_plain = all(map(_is_plain, _START.sub("", folder, count=1).split("/")))
    if folder not in {_HERE, "/"} and not (is_plain and is_inside(folder, [folder])):
        raise ValueError('write it without "..", "//", escapes and a slash at its end')


def _is_in(path: str, folder: str) -> bool:
    below = path
    if folder == _HERE:
        if path.startswith("~") or ":" in path.partition("/")[0]:
            return False
    else:
        start = folder.rstrip("/") + "/"
        if path in {folder, start}:
            return True
        if not path.startswith(start):
            return False
        below = path[len(start) :]
    return all(map(_is_plain, below.removesuffix("/").split("/")))


def _is_plain(segment: str) -> bool:
    """Return whether a segment is a name, and not "", "." or ".." to any server.

    Windows drops dots and spaces at its end, and Tomcat what follows a semicolon.
    """
    return bool(segment.partition(";")[0].strip(" ."))
