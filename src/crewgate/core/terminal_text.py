"""Escapes untrusted text for a terminal.

Control characters drive terminals (ANSI escapes). Bidirectional overrides and zero-width characters
make one text look like another (Unicode TR 36; "Trojan Source", CVE-2021-42574).
"""

import unicodedata

# Cc: controls. Cf: formats (bidirectional overrides, zero width). Cs: surrogates. Co: private use.
# Cn: unassigned. Zl, Zp: separators at which some terminals break lines.
_ACTIVE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""Return the text with active characters and backslashes escaped: `\\`, `\x..`, `\u....`.

    The result is one line without control characters; different texts stay different.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape, text))


def printable_lines(text: str) -> str:
    """Return the text with active characters escaped, but line feeds and backslashes as they are.

    Use it for text that may already be escaped, and that may have several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if each in "\n\\" else _escape(each) for each in text)


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) not in _ACTIVE:
        return character
    return character.encode("unicode_escape").decode()
