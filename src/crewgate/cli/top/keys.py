"""Turns the bytes that a terminal sends into keys: characters, and names such as `up`."""

import codecs
import re

from crewgate import limits

_NAMES = {
    b"A": "up",
    b"B": "down",
    b"C": "right",
    b"D": "left",
    b"H": "home",
    b"F": "end",
    b"Z": "backtab",
    b"1~": "home",
    b"7~": "home",
    b"4~": "end",
    b"8~": "end",
    b"5~": "pageup",
    b"6~": "pagedown",
    b"200~": "paste-begins",
    b"201~": "paste-ends",
}
_CONTROLS = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace"}
_ESCAPE = b"\x1b"
# ECMA-48, section 5.4: parameters and intermediate bytes, then one final byte. `ESC O` is of the
# keypad (VT100).
_SEQUENCE = re.compile(rb"\x1b(?:\[([0-?]*[ -/]*[@-~])|O([@-~]))")
_BEGUN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)?")


class KeyReader:
    """Collects bytes, since a sequence may come in several pieces.

    Text that a person pastes is no key: it never orders anything.
    """

    def __init__(self) -> None:
        self._bytes = b""
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._is_pasting = False

    @property
    def waits(self) -> bool:
        """Whether a sequence has begun. If nothing follows at once, it was Escape: `expire`."""
        return bool(self._bytes)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete. An unknown sequence is none."""
        self._bytes += data
        keys: list[str] = []
        while self._bytes:
            if not self._bytes.startswith(_ESCAPE):
                text, escape, rest = self._bytes.partition(_ESCAPE)
                self._bytes = escape + rest
                keys += self._plain(self._text.decode(text))
                continue
            found = _SEQUENCE.match(self._bytes)
            if found:
                self._bytes = self._bytes[found.end() :]
                keys += self._named(_NAMES.get(found[1] or found[2], ""))
            elif _BEGUN.fullmatch(self._bytes) and len(self._bytes) < limits.top_sequence_bytes_max:
                break
            else:
                self._bytes = self._bytes[1:]
                keys += self._named("escape")
        return keys

    def expire(self) -> list[str]:
        """Return what has begun as the key Escape."""
        self._bytes = b""
        return self._named("escape")

    def forget(self) -> None:
        """Drop what has come of a sequence."""
        self._bytes = b""

    def _plain(self, text: str) -> list[str]:
        if self._is_pasting:
            return []
        return [_CONTROLS.get(each, each) for each in text if each in _CONTROLS or each >= " "]

    def _named(self, name: str) -> list[str]:
        if name in {"paste-begins", "paste-ends"}:
            self._is_pasting = name == "paste-begins"
            return []
        return [name] if name and not self._is_pasting else []
