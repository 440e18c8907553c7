"""Parses a request to the control API: path, query and body, with errors for people."""

from collections.abc import Collection
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from crewgate import limits
from crewgate.api import access

T = TypeVar("T")
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_RENAMED = {"every_token_of": "all_tokens_of"}  # what earlier versions called a member of a body


class APIRequest(msgspec.Struct, frozen=True):
    """A request with its whole body.

    `serial` is that of the connection's certificate; `raw_path` is the path as the client sent it.
    """

    path: dict[str, str]
    query: dict[str, str]
    body: bytes
    content_type: str = ""
    serial: str = ""
    raw_path: bytes = b""

    def __repr__(self) -> str:
        """Return a text without the body, which may have a token."""
        return f"<APIRequest {self.path}>"

    @property
    def media(self) -> str:
        """The body's media type, without parameters."""
        return self.content_type.partition(";")[0].strip().lower()

    def decode(self, kind: type[T]) -> T:
        """Return the JSON body. Raises ControlError 400 if malformed, 415 for another type."""
        self._expect(_JSON)
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = str(error)
            for old, new in _RENAMED.items():
                text = text.replace(f"unknown field `{old}`", f"`{old}`, which is `{new}` now")
            access.malformed(f"body: {text}"[: limits.certificate_subject_chars_max])

    def form(self) -> dict[str, str]:
        """Return a form's fields. Raises ControlError 400 if malformed, 415 for another type."""
        self._expect(_FORM)
        return _parsed(self.body, "body", "fields", is_strict=bool(self.body))

    def expect_query(self, known: Collection[str]) -> None:
        """Raise ControlError 400 for an unknown parameter, which would otherwise have no effect."""
        unknown = sorted(self.query.keys() - set(known))
        if unknown:
            access.malformed(f"query: unknown parameter {unknown[0][:64]!r}")

    def int_param(self, name: str, default: int, maximum: int) -> int:
        """Return a number of the query from 1 to `maximum`. Raises ControlError 400."""
        text = self.query.get(name)
        if text is None:
            return default
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(maximum))
        if not is_number or not 1 <= int(text) <= maximum:
            access.malformed(f"{name}: expected a whole number from 1 to {maximum}")
        return int(text)

    def _expect(self, kind: str) -> None:
        if self.media != kind:
            access.unsupported(f"send {kind}, not {self.media[:64] or 'a body without a type'}")


def query_of(text: bytes) -> dict[str, str]:
    """Return the parameters of a query. Raises ControlError 400 if malformed."""
    return _parsed(text, "query", "parameters", is_strict=False)


def _parsed(data: bytes, where: str, what: str, *, is_strict: bool) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=is_strict,
            max_num_fields=limits.form_fields_max,
            errors="strict",
        )
    except ValueError:
        access.malformed(f"{where}: expected {_FORM} with at most {limits.form_fields_max} {what}")
    fields = dict(pairs)
    # RFC 6749, section 3.1
    if len(fields) != len(pairs):
        access.malformed(f"{where}: a field is given twice")
    return fields
