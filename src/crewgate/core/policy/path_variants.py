"""Lists the ways in which lenient servers read a path.

With them the router makes sure that no server serves another tool than the gate decided about.

- Some servers match the path as it was sent (chi), others decode it first.
- Express ignores case and a last slash. Windows ignores blanks and dots at the end of a name.
- Rails takes "/a.json" for "/a". A proxy that decodes first cuts at "?" and "#".
- Some normalize Unicode: NFKC makes a slash of U+FF0F.
- Many trim blanks of any alphabet; to a server that decodes forms, "+" is a blank.
- Apple's file system skips characters without width (CVE-2014-9390).
- NTFS takes "a::$DATA" for "a" (CVE-1999-0278).
- ASP.NET removes sessions from "/a/(S(x))/b" and "/a/(S(x))b" (CVE-2023-36899).

The functions expect a path that `routing.plain_path` accepts.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

_TAME = re.compile(rb"/[a-z0-9_~!$&'()*+,=:@/-]*(?<!/)").fullmatch
_EDGED = re.compile(rb"/[+:]|[+:](?:/|\Z)|:\$|/\([a-z]\(").search
_PARAMETERS = re.compile(rb";[^/]*")
_SESSION = re.compile(rb"/\((?:[A-Za-z]\([^()/]*\))+\)")
_BEHIND = re.compile(rb"[?#].*", re.DOTALL)  # a query, a fragment
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_BLANK = r"\s\x00-\x1f\x7f-\x9f+"  # Unicode's White_Space, control characters, and "+" of forms
# Characters without width: Unicode's Default_Ignorable_Code_Point and the rest of category Cf.
_WIDTHLESS = re.compile(
    "[\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_STREAM = r":[^:/]*:\$\w+"  # an NTFS stream with its type; an empty name is the file itself
_START = re.compile(rf"\A[{_BLANK}]++")
# Matches the reversed name, possessively: a forward search would run to the end from each position.
_END = re.compile(rf"\A(?:[{_BLANK}.:]|\w++\$:[^/:]*+:)++")
# A dot segment, even if blanks, parameters or parts that servers cut away surround the dots.
_CLIMBING = re.compile(rf"/[{_BLANK}]*\.{{1,2}}(?:[{_BLANK}:]|{_STREAM})*(?:[/;?#]|\Z)")
# Octets that can be decoded without a change of meaning (RFC 3986, section 6.2.2.2).
_UNRESERVED = re.compile(rb"%(?:2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)


def is_tame(path: bytes) -> bool:
    """Return whether all servers read a path in the same way."""
    return _TAME(path) is not None and not _EDGED(path)


def loose_segment(segment: str) -> bytes:
    """Return the segment without the characters that servers ignore; b"" if nothing is left."""
    return _trimmed(_caseless(segment)).encode()


def decodings(path: bytes, plain: bytes) -> set[bytes]:
    """Return the spellings that servers match against their routes: `path`, and decoded forms.

    `plain` is the decoded path: absolute and UTF-8.
    """
    if b"%" not in path and b"/(" not in path:
        return {path}
    found = {path, plain, _UNRESERVED.sub(lambda match: unquote_to_bytes(match[0]), path)}
    if not plain.isascii():
        found.update(text.encode() for text in _normalized(plain))
    # In this order and back, since one of these parts can hold another.
    for part in (_SESSION, _PARAMETERS, _BEHIND, _PARAMETERS, _SESSION):
        found |= {part.sub(b"", one) for one in found}
    return found


def variants(spelling: bytes) -> list[tuple[list[bytes], bool]]:
    """Return the segment lists of a spelling, each with whether a slash follows the last segment.

    They are those of servers that ignore case and the ends of names. Compare them with patterns of
    `loose_segment`. Empty segments are left out, except where a server takes a name of blanks for
    an empty one.
    """
    words = _caseless(spelling.decode())[1:].split("/")
    short = [_trimmed(word) for word in words]
    found = _named(short)
    if "" in short:  # a name of blanks and dots only: nothing to Windows, a name to others
        found += _named([name or word for name, word in zip(short, words, strict=True)])
        found += _named(short, keep=True)
    if words[-1].rpartition(".")[0] == "..":  # "...json" without its format is ".."
        found.append(([word.encode() for word in short[:-1] if word][:-1], True))
    return found


def _named(words: list[str], *, keep: bool = False) -> list[tuple[list[bytes], bool]]:
    """Return the names with and without a format at the end; `keep`: empty names stay."""
    *head, last = words
    names = {last}
    if "." in last:
        names |= {_trimmed(last.partition(".")[0]), _trimmed(last.rpartition(".")[0])}
    before = [word.encode() for word in head if word or keep]
    return [([*before, name.encode()], False) if name else (before, True) for name in names]


def _trimmed(word: str) -> str:
    """Return a name without characters of no width, trimmed at both ends."""
    begun = _START.sub("", _WIDTHLESS.sub("", word))
    return _END.sub("", begun[::-1])[::-1]


def has_dot_segment(plain: bytes) -> bool:
    """Return whether a server could find a dot segment or a second encoding in a decoded path."""
    texts = [plain.decode()]
    if not plain.isascii():
        texts = _normalized(plain)
        texts += [_WIDTHLESS.sub("", text) for text in texts]
    return any(_ENCODED.search(text) or _CLIMBING.search(text) for text in texts)


def _normalized(plain: bytes) -> list[str]:
    """Return the path as servers normalize it: at once, or after they removed a format."""
    text = plain.decode()
    end = text.rpartition("/")[2]
    tails = {len(end) - len(end.rpartition(".")[0]), len(end) - len(end.partition(".")[0])}
    cut = [text[:-tail] for tail in tails if tail and "." in end]
    return [unicodedata.normalize("NFKC", one).replace("\\", "/") for one in [text, *cut]]


def _caseless(text: str) -> str:
    """Return the text without case, whichever case a server uses.

    Example: U+0131 becomes "i" when a server raises and then lowers it.
    """
    return text.lower() if text.isascii() else text.upper().casefold()
