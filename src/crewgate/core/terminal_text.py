"""What a text from outside may look like on a terminal: itself, with everything active escaped.

Control characters drive terminals (ANSI escapes), bidirectional overrides and zero-width
characters make one text look like another (Unicode TR 36; "Trojan Source", CVE-2021-42574). Knows
nothing of colours or widths.
"""

import unicodedata

# Cc controls, Cf formats (bidi overrides, zero width), Cs surrogates, Co private use,
# Cn unassigned, Zl and Zp separators that some terminals break lines at.
_ACTIVE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""The text with active characters and the backslash as `\\`, `\x..`, `\u....`, `\U........`.

    The result is one line and holds no control character; different texts stay different.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) not in _ACTIVE:
        return character
    return character.encode("unicode_escape").decode()
