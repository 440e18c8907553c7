"""How lenient servers read a path, so that none of them serves another tool's than was judged.

Some match it as it was sent (chi), some decode it; Express ignores case and a last slash, Windows
blanks and dots at the end of a name; Rails takes "/a.json" for "/a"; a proxy that decodes first
cuts at "?" and "#"; and some normalise Unicode (NFKC makes a slash of U+FF0F). Reads what
`routing.plain_path` lets through and judges nothing.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

# A path of which there is one reading.
is_tame = re.compile(rb"/[a-z0-9_~!$&'()*+,=:@/-]*(?<!/)").fullmatch
_PARAMETERS = re.compile(rb";[^/]*")
_BEHIND = re.compile(rb"[?#].*", re.DOTALL)  # a query, a fragment
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
# A dot segment, also where blanks, parameters or what is cut away follow the dots.
_CLIMBING = re.compile(r"/\.{1,2} *(?:[/;?#]|\Z)")
# RFC 3986, section 6.2.2.2: what may be decoded without a change of meaning.
_UNRESERVED = re.compile(rb"%(?:2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)


def loose_segment(segment: str) -> bytes:
    """The segment without what servers ignore; b"" for one that they leave out."""
    return _caseless(segment).rstrip(" .").encode()


def spellings(path: bytes, plain: bytes) -> set[bytes]:
    """What servers match against their routes: `path`, and what they decode it to.

    `plain` is the path decoded: absolute and UTF-8.
    """
    if b"%" not in path:
        return {path}
    found = {path, plain, _UNRESERVED.sub(lambda match: unquote_to_bytes(match[0]), path)}
    if not plain.isascii():
        found.update(text.encode() for text in _normalised(plain))
    for part in (_PARAMETERS, _BEHIND, _PARAMETERS):  # of a part that holds the other, too
        found |= {part.sub(b"", one) for one in found}
    return found


def readings(spelling: bytes) -> list[tuple[list[bytes], bool]]:
    """The segments of a spelling, by servers that ignore case and ends of names; and a last slash.

    To be compared with patterns made of `loose_segment`. Empty segments are left out.
    """
    words = [word.encode() for word in _caseless(spelling.decode())[1:].split("/")]
    short = [word.rstrip(b" .") for word in words]
    found = _named(short)
    if b"" in short:  # names of blanks and dots alone: nothing to Windows, a name to others
        found += _named([name or word for name, word in zip(short, words, strict=True)])
    if words[-1].rpartition(b".")[0] == b"..":  # "...json" without its format climbs
        found.append(([word for word in short[:-1] if word][:-1], True))
    return found


def _named(words: list[bytes]) -> list[tuple[list[bytes], bool]]:
    """With and without a format at the end."""
    *head, last = words
    names = {last}
    if b"." in last:
        names |= {last.partition(b".")[0].rstrip(b" ."), last.rpartition(b".")[0].rstrip(b" .")}
    before = [word for word in head if word]
    return [([*before, name], False) if name else (before, True) for name in names]


def climbs(plain: bytes) -> bool:
    """Whether a server could find a dot segment, or one more encoding, in a decoded path."""
    texts = [plain.decode()] if plain.isascii() else _normalised(plain)
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
