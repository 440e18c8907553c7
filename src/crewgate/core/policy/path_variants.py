"""How lenient servers read a path, so that none of them serves another tool's than was judged.

Some match it as it was sent (chi), some decode it; Express ignores case and a last slash, Windows
blanks and dots at the end of a name; Rails takes "/a.json" for "/a"; a proxy that decodes first
cuts at "?" and "#"; some normalise Unicode (NFKC makes a slash of U+FF0F). Many trim blanks of any
alphabet, which "+" is to one that decodes forms; Apple's file system skips what has no width
(CVE-2014-9390), NTFS takes "a::$DATA" for "a" (CVE-1999-0278), and ASP.NET takes sessions out of a
path, "/a/(S(x))/b" and "/a/(S(x))b" (CVE-2023-36899). Reads what `routing.plain_path` lets through
and judges nothing.
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
_BLANK = r"\s\x00-\x1f\x7f-\x9f+"  # Unicode's White_Space, control characters, and forms' blank
# Unicode's Default_Ignorable_Code_Point, and what else is of its category Cf: nothing is drawn.
_WIDTHLESS = re.compile(
    "[\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_STREAM = r":[^:/]*:\$\w+"  # of NTFS, with its type; an empty name is the file itself
_START = re.compile(rf"\A[{_BLANK}]++")
# Backwards, and without a way back: from each place, a search forwards would run to the end again.
_END = re.compile(rf"\A(?:[{_BLANK}.:]|\w++\$:[^/:]*+:)++")
# A dot segment, also where blanks, parameters or what is cut away stand round the dots.
_CLIMBING = re.compile(rf"/[{_BLANK}]*\.{{1,2}}(?:[{_BLANK}:]|{_STREAM})*(?:[/;?#]|\Z)")
# RFC 3986, section 6.2.2.2: what may be decoded without a change of meaning.
_UNRESERVED = re.compile(rb"%(?:2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)


def is_tame(path: bytes) -> bool:
    """Whether there is one reading of a path."""
    return _TAME(path) is not None and not _EDGED(path)


def loose_segment(segment: str) -> bytes:
    """The segment without what servers ignore; b"" for one that they leave out."""
    return _trimmed(_caseless(segment)).encode()


def decodings(path: bytes, plain: bytes) -> set[bytes]:
    """What servers match against their routes: `path`, and what they decode it to.

    `plain` is the path decoded: absolute and UTF-8.
    """
    if b"%" not in path and b"/(" not in path:
        return {path}
    found = {path, plain, _UNRESERVED.sub(lambda match: unquote_to_bytes(match[0]), path)}
    if not plain.isascii():
        found.update(text.encode() for text in _normalised(plain))
    # Of a part that holds another, too.
    for part in (_SESSION, _PARAMETERS, _BEHIND, _PARAMETERS, _SESSION):
        found |= {part.sub(b"", one) for one in found}
    return found


def variants(spelling: bytes) -> list[tuple[list[bytes], bool]]:
    """The segments of a spelling, by servers that ignore case and ends of names; and a last slash.

    To be compared with patterns made of `loose_segment`. Empty segments are left out, but for
    servers to which a name of blanks alone is an empty one.
    """
    words = _caseless(spelling.decode())[1:].split("/")
    short = [_trimmed(word) for word in words]
    found = _named(short)
    if "" in short:  # names of blanks and dots alone: nothing to Windows, a name to others
        found += _named([name or word for name, word in zip(short, words, strict=True)])
        found += _named(short, keep=True)
    if words[-1].rpartition(".")[0] == "..":  # "...json" without its format climbs
        found.append(([word.encode() for word in short[:-1] if word][:-1], True))
    return found


def _named(words: list[str], *, keep: bool = False) -> list[tuple[list[bytes], bool]]:
    """With and without a format at the end; `keep`: with empty names before that."""
    *head, last = words
    names = {last}
    if "." in last:
        names |= {_trimmed(last.partition(".")[0]), _trimmed(last.rpartition(".")[0])}
    before = [word.encode() for word in head if word or keep]
    return [([*before, name.encode()], False) if name else (before, True) for name in names]


def _trimmed(word: str) -> str:
    """A name without what has no width, and without what is trimmed at its ends."""
    begun = _START.sub("", _WIDTHLESS.sub("", word))
    return _END.sub("", begun[::-1])[::-1]


def has_dot_segment(plain: bytes) -> bool:
    """Whether a server could find a dot segment, or one more encoding, in a decoded path."""
    texts = [plain.decode()]
    if not plain.isascii():
        texts = _normalised(plain)
        texts += [_WIDTHLESS.sub("", text) for text in texts]
    return any(_ENCODED.search(text) or _CLIMBING.search(text) for text in texts)


def _normalised(plain: bytes) -> list[str]:
    """By servers that normalise Unicode, first of all or after they took a format away."""
    text = plain.decode()
    end = text.rpartition("/")[2]
    tails = {len(end) - len(end.rpartition(".")[0]), len(end) - len(end.partition(".")[0])}
    cut = [text[:-tail] for tail in tails if tail and "." in end]
    return [unicodedata.normalize("NFKC", one).replace("\\", "/") for one in [text, *cut]]


def _caseless(text: str) -> str:
    """Without case, whichever case a server makes: U+0131 is i once raised and lowered."""
    return text.lower() if text.isascii() else text.upper().casefold()
