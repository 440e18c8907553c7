"""One request to the control API, read: path, query and body, with words for what is wrong."""

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from crewgate import limits
from crewgate.api import access

T = TypeVar("T")
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


class Call(msgspec.Struct, frozen=True):
    """A request; `body` is all of it."""

    path: dict[str, str]
    query: dict[str, str]
    body: bytes
    content_type: str = ""

    def __repr__(self) -> str:
        """Without the body, which may hold a token."""
        return f"<Call {self.path}>"

    def decode(self, kind: type[T]) -> T:
        """The JSON body; ControlError 400 says where it is wrong, and 415 for another type."""
        self._expect(_JSON)
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            access.malformed(f"body: {error}")

    def form(self) -> dict[str, str]:
        """The fields of a form; ControlError 400 if one stands there twice (RFC 6749 §3.1)."""
        self._expect(_FORM)
        try:
            pairs = parse_qsl(
                self.body.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=bool(self.body),
                max_num_fields=limits.form_fields_max,
                errors="strict",
            )
        except ValueError:
            access.malformed(f"body: not {_FORM} of at most {limits.form_fields_max} fields")
        fields = dict(pairs)
        if len(fields) != len(pairs):
            access.malformed("body: a field stands there twice")
        return fields

    def whole(self, name: str, default: int, most: int) -> int:
        """A number of the query from 1 to `most`; ControlError 400."""
        text = self.query.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
            access.malformed(f"{name}: expected a whole number from 1 to {most}")
        return int(text)

    def _expect(self, kind: str) -> None:
        given = self.content_type.partition(";")[0].strip().lower()
        if given != kind:
            access.unsupported(f"send {kind}, not {given or 'a body without a type'}")
