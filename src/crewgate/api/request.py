"""One request to the control API, read: path, query and body, with words for what is wrong."""

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
    """A request; `body` is all of it.

    `serial` is of the certificate that its connection showed, `raw_path` the path as it was sent.
    """

    path: dict[str, str]
    query: dict[str, str]
    body: bytes
    content_type: str = ""
    serial: str = ""
    raw_path: bytes = b""

    def __repr__(self) -> str:
        """Without the body, which may hold a token."""
        return f"<APIRequest {self.path}>"

    @property
    def media(self) -> str:
        """The body's type, without parameters."""
        return self.content_type.partition(";")[0].strip().lower()

    def decode(self, kind: type[T]) -> T:
        """The JSON body; ControlError 400 says where it is wrong, and 415 for another type."""
        self._expect(_JSON)
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = str(error)
            for old, new in _RENAMED.items():
                text = text.replace(f"unknown field `{old}`", f"`{old}`, which is `{new}` now")
            access.malformed(f"body: {text}"[: limits.certificate_subject_chars_max])

    def form(self) -> dict[str, str]:
        """The fields of a form; ControlError 400 for what is none, 415 for another type."""
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
        return once(pairs, "body")

    def expect_query(self, known: Collection[str]) -> None:
        """ControlError 400 for a parameter that nobody reads: a wish that would not be heard."""
        unknown = sorted(self.query.keys() - set(known))
        if unknown:
            access.malformed(f"query: unknown parameter {unknown[0][:64]!r}")

    def int_param(self, name: str, default: int, most: int) -> int:
        """A number of the query from 1 to `most`; ControlError 400."""
        text = self.query.get(name)
        if text is None:
            return default
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
        if not is_number or not 1 <= int(text) <= most:
            access.malformed(f"{name}: expected a whole number from 1 to {most}")
        return int(text)

    def _expect(self, kind: str) -> None:
        if self.media != kind:
            access.unsupported(f"send {kind}, not {self.media[:64] or 'a body without a type'}")


def query_of(text: bytes) -> dict[str, str]:
    """The parameters of a query; ControlError 400 if one stands there twice."""
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=limits.form_fields_max,
            errors="strict",
        )
    except ValueError:
        access.malformed(f"query: not {_FORM} of at most {limits.form_fields_max} parameters")
    return once(pairs, "query")


def once(pairs: list[tuple[str, str]], where: str) -> dict[str, str]:
    """Pairs as a dictionary; ControlError 400 if a name stands there twice (RFC 6749 §3.1)."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        access.malformed(f"{where}: a field is given twice")
    return fields
