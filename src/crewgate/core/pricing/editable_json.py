"""A JSON document that is read in few places, and written again without any ambiguity there.

Servers differ in how they read a member that occurs twice, or in another case (Go's encoding/json
reads `MAX_TOKENS` as `max_tokens`). So each object that a price was read from is written again,
with every member once; all other values pass byte for byte.
"""

from collections.abc import Callable, Sequence

import msgspec

from crewgate import limits
from crewgate.core import raw_json
from crewgate.core.json_member_names import folded, folded_words
from crewgate.core.raw_json import UNREADABLE
from crewgate.core.terminal_text import printable
from crewgate.errors import InvalidRequestError

UNPRICED = 422  # RFC 9110, section 15.5.21: well-formed, but it cannot be processed

_SHOWN_CHARS = 64  # of a name in a problem's detail

_encode = msgspec.json.Encoder().encode

# A value that was opened is a dict or a list; any other is its JSON text.
JSONPath = tuple[str, ...]
JSONPart = bytes | dict[str, "JSONPart"] | list["JSONPart"]
CountItems = Callable[[bytes], int]


def no_price(why: str) -> InvalidRequestError:
    """Return the error for a request whose price cannot be determined, with the reason."""
    return InvalidRequestError(UNPRICED, why)


class EditableJSON:
    """A JSON text whose outermost value is an object or an array."""

    def __init__(
        self, data: bytes, count: CountItems | None = None, *, folds_words: bool = False
    ) -> None:
        """Open the outermost value; raise ValueError if it is not an object or an array.

        With `folds_words`, two names are also the same if they differ in "_" and "-": some servers
        take `maxResults` for `max_results`.

        `count` returns how many values an object or array has, without decoding them. With it, one
        that has more than `limits.json_outermost_max` values is not opened, and no more than
        `limits.json_opened_max` values are opened in all.
        """
        self._count = count
        self._fold = folded_words if folds_words else folded
        self._left = limits.json_opened_max
        self.root = self._opened(data)

    def find(self, steps: Sequence[str]) -> bytes | None:
        """Return the text of the value at a JSON pointer; None if there is none.

        Raises InvalidRequestError if a name on the way has another spelling that some servers take
        for it, or if there are too many values on the way.
        """
        part: JSONPart | None = self.root
        for step in steps[:-1]:
            part = self.inside(part, step)
        below = self._member(part, steps[-1]) if steps else part
        return None if below is None else _written(below)

    def inside(self, part: JSONPart | None, step: str) -> JSONPart | None:
        """Return the opened value at `step` of an object or array; None if there is none.

        Raises InvalidRequestError like `find`.
        """
        below = self._member(part, step)
        if isinstance(below, bytes) and part is not None and below.startswith((b"{", b"[")):
            below = self._below(step, below)
            _replace(part, step, below)
        return below

    def members(self, steps: Sequence[str]) -> list[tuple[str, bytes]]:
        """Return the names and texts of the members of an object; empty for any other value.

        Raises InvalidRequestError like `find`, for any two of the names.
        """
        part: JSONPart | None = self.root
        for step in steps:
            part = self.inside(part, step)
        if not isinstance(part, dict):
            return []
        seen: set[str] = set()
        for name in part:
            same = folded(name)
            if same in seen:
                raise _twice(name)
            seen.add(same)
        return [(name, _written(below)) for name, below in part.items()]

    def items(self, steps: Sequence[str]) -> int:
        """Return how many items an array has; 1 for any other value, 0 for none or null."""
        text = self.find(steps)
        if text is None or text == b"null":
            return 0
        if not text.startswith(b"["):
            return 1
        return len(raw_json.items(text)) if self._count is None else self._count(text)

    def put(self, steps: Sequence[str], value: bytes) -> None:
        """Put a JSON text there; objects on the way are made.

        InvalidRequestError where something else is in the way.
        """
        part: JSONPart = self.root
        for step in steps[:-1]:
            below = self._member(part, step)
            if not isinstance(below, dict):
                below = self._object(step, below)
                _replace(part, step, below)
            part = below
        _replace(part, steps[-1], value)

    def _object(self, step: str, part: JSONPart | None) -> JSONPart:
        if part is None or part == b"null":
            return {}
        if isinstance(part, bytes) and part.startswith(b"{"):
            return self._below(step, part)
        raise no_price(f'"{step}" is not an object')

    def _opened(self, data: bytes) -> dict[str, JSONPart] | list[JSONPart]:
        if self._count is not None:
            count = self._count(data)
            self._left -= count
            if count > limits.json_outermost_max:
                raise ValueError(f"more than {limits.json_outermost_max} values in one object")
            if self._left < 0:
                raise ValueError(f"more than {limits.json_opened_max} values to read")
        return _decoded(data)

    def _below(self, step: str, data: bytes) -> dict[str, JSONPart] | list[JSONPart]:
        try:
            return self._opened(data)
        except ValueError as error:
            raise no_price(f'"{step}": {error}') from error

    def _member(self, part: JSONPart | None, step: str) -> JSONPart | None:
        """Return the value at `step`; raise InvalidRequestError if a server might read another."""
        if isinstance(part, list):
            is_index = step.isdecimal() and step.isascii() and len(step) <= len(str(len(part)))
            is_index = is_index and (step == "0" or step[0] != "0")  # RFC 6901, section 4
            return part[int(step)] if is_index and int(step) < len(part) else None
        if not isinstance(part, dict):
            return None
        same = self._fold(step)
        for name in part:
            # An ASCII name is at least as long as what it is folded to.
            may_be = len(name) >= len(same) or not name.isascii()
            if name != step and may_be and self._fold(name) == same:
                raise _twice(step)
        return part.get(step)

    def last(self) -> bytes:
        """Return the text of an array's last value, or of the whole object."""
        if isinstance(self.root, list):
            return _written(self.root[-1]) if self.root else b"null"
        return _written(self.root)

    def written(self) -> bytes:
        """Return the text of the whole document."""
        return _written(self.root)


def _decoded(data: bytes) -> dict[str, JSONPart] | list[JSONPart]:
    try:
        if data.lstrip(b" \t\r\n").startswith(b"["):
            return [_bare(part) for part in raw_json.items(data)]
        return {name: _bare(part) for name, part in raw_json.members(data).items()}
    except UNREADABLE as error:
        raise ValueError(f"not JSON: {error}") from error


def _bare(part: msgspec.Raw) -> bytes:
    return bytes(part).strip(b" \t\r\n")


def _twice(name: str) -> InvalidRequestError:
    return no_price(f'"{printable_name(name)}" has two spellings; send this one only')


def printable_name(name: str) -> str:
    """Return a member's name as it may be shown to a client in a problem."""
    return printable(name[:_SHOWN_CHARS])


def _replace(part: JSONPart, step: str, value: JSONPart) -> None:
    if isinstance(part, dict):
        part[step] = value
    elif isinstance(part, list) and step.isdecimal() and int(step) < len(part):
        part[int(step)] = value
    else:
        raise no_price(f'there is no object to hold "{step}"')


def _written(part: JSONPart) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, list):
        return b"[%b]" % b",".join(map(_written, part))
    return b"{%b}" % b",".join(
        b"%b:%b" % (_encode(name), _written(below)) for name, below in part.items()
    )
