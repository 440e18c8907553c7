"""The sources of a price: which quantity a call is charged for, and where it is read.

A source is a subclass of `PriceTerm`; `SOURCES` lists them all. The configuration, the pricing of a
request, the reader of a response and the meter call the methods of a term and never check its type.
So a new source is one class in this module: `in_request` and `in_response` say where it may be
configured, and it has a method for each part of a call that states its quantity.
"""

import enum
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, NamedTuple, Protocol

import msgspec

from crewgate import limits
from crewgate.core.http_types import HeaderField
from crewgate.core.pricing.editable_json import CountItems, EditableJSON, no_price
from crewgate.errors import InvalidRequestError

Quantity = int | Fraction

# A JSON number (RFC 8259, section 6) without a sign; JSON forbids a leading zero.
_NUMBER = re.compile(rb"(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,12})?(?:[eE][+-]?[0-9]{1,2})?")


class PlaceKind(enum.Enum):
    """What the `place` of a term means."""

    NOTHING = enum.auto()  # the source needs no place
    POINTER = enum.auto()  # the steps of a JSON pointer (RFC 6901)
    HEADER = enum.auto()  # one step, the name of a header in lower case


class RequestParts(NamedTuple):
    """The parts of a request that quantities are read from; `document` is the body as JSON.

    If no term needs them, `body` is empty and `document` is None.
    """

    headers: Sequence[HeaderField]
    body: bytes
    document: EditableJSON | None


class ResponseProgress(Protocol):
    """How much of a response has arrived: bytes of its body, and server-sent events."""

    bytes: int
    events: int


class PriceTerm(msgspec.Struct, frozen=True):
    """One quantity that is charged for, at `rate` micro-credits for a million units.

    `place` says where the quantity is; `place_kind` says how to read `place`. The `of_…` methods
    return the quantity, or None if that part of a response does not state it.
    """

    rate: int
    place: tuple[str, ...] = ()

    key: ClassVar[str]  # in the configuration
    place_kind: ClassVar[PlaceKind] = PlaceKind.NOTHING
    in_request: ClassVar[bool] = False  # allowed under `request`
    in_response: ClassVar[bool] = False  # allowed under `response`
    needs_body: ClassVar[bool] = True  # needs the whole body of a request
    reads_json: ClassVar[bool] = False  # reads a JSON body, or JSON in server-sent events
    is_counted: ClassVar[bool] = False  # the gateway counts it while a response arrives

    @property
    def name(self) -> str:
        """The place as it is written in the configuration."""
        if self.place_kind is PlaceKind.HEADER:
            return self.place[0]
        return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in self.place)

    @property
    def byte_rate(self) -> int:
        """The micro-credits for a million bytes of a response's body."""
        return 0

    def of_request(self, request: RequestParts) -> Quantity:
        """Return the quantity in a request; raise InvalidRequestError if there is none."""
        raise NotImplementedError(f"{self.key} in a request")

    def of_headers(self, headers: Mapping[bytes, bytes]) -> Quantity | None:  # noqa: ARG002
        """Return the quantity in a response's headers; raise ValueError if it is not a number."""
        return None

    def of_json(self, text: bytes, count: CountItems | None) -> Quantity | None:  # noqa: ARG002
        """Return the quantity in a JSON body, or in a server-sent event.

        Raises ValueError or InvalidRequestError if it cannot be read.
        """
        return None

    def of_trailers(self, trailers: Mapping[bytes, bytes]) -> Quantity | None:  # noqa: ARG002
        """Return the quantity in a response's trailers; raise ValueError if it is not a number."""
        return None

    def of_progress(self, progress: ResponseProgress) -> Quantity:
        """Return how much has arrived so far, if the quantity `is_counted`."""
        raise NotImplementedError(f"{self.key} is not counted")


class BytesTerm(PriceTerm, frozen=True):
    """The bytes of a body."""

    key = "bytes"
    in_request = True
    in_response = True
    is_counted = True

    @property
    def byte_rate(self) -> int:
        """The rate of the term."""
        return self.rate

    def of_request(self, request: RequestParts) -> Quantity:
        """Return the size of the body."""
        return len(request.body)

    def of_progress(self, progress: ResponseProgress) -> Quantity:
        """Return the bytes of the body that have arrived."""
        return progress.bytes


class NumberTerm(PriceTerm, frozen=True):
    """A number in a JSON body."""

    key = "number"
    place_kind = PlaceKind.POINTER
    in_request = True
    in_response = True
    reads_json = True

    def of_request(self, request: RequestParts) -> Quantity:
        """Return the number; raise InvalidRequestError if there is none."""
        found = None if request.document is None else request.document.find(self.place)
        try:
            return amount(found or b"")
        except ValueError:
            raise _unpriced(self, "number of 0 or more") from None

    def of_json(self, text: bytes, count: CountItems | None) -> Quantity | None:
        """Return the number; raise ValueError or InvalidRequestError if it cannot be read."""
        found = EditableJSON(text, count).find(self.place)
        return None if found is None else amount(found)


class ItemsTerm(PriceTerm, frozen=True):
    """The items of an array in a JSON body; in a response, anything but an array is one item."""

    key = "items"
    place_kind = PlaceKind.POINTER
    in_request = True
    in_response = True
    reads_json = True

    def of_request(self, request: RequestParts) -> Quantity:
        """Return the length of the array; raise InvalidRequestError if there is none."""
        document = request.document
        if document is None or not (document.find(self.place) or b"").startswith(b"["):
            raise _unpriced(self, "array")
        return document.items(self.place)

    def of_json(self, text: bytes, count: CountItems | None) -> Quantity | None:
        """Return the length; raise ValueError or InvalidRequestError if it cannot be read."""
        document = EditableJSON(text, count)
        return None if document.find(self.place) is None else document.items(self.place)


class HeaderTerm(PriceTerm, frozen=True):
    """A number in a header of a response."""

    key = "header"
    place_kind = PlaceKind.HEADER
    in_response = True

    def of_headers(self, headers: Mapping[bytes, bytes]) -> Quantity | None:
        """Return the number; raise ValueError if it is not one."""
        return _of_field(headers, self.place[0])


class TrailerTerm(PriceTerm, frozen=True):
    """A number in a trailer of a response."""

    key = "trailer"
    place_kind = PlaceKind.HEADER
    in_response = True

    def of_trailers(self, trailers: Mapping[bytes, bytes]) -> Quantity | None:
        """Return the number; raise ValueError if it is not one."""
        return _of_field(trailers, self.place[0])


SOURCES: tuple[type[PriceTerm], ...] = (BytesTerm, NumberTerm, ItemsTerm, HeaderTerm, TrailerTerm)


def pointer(text: str) -> tuple[str, ...]:
    """Return the steps of a JSON pointer (RFC 6901, sections 3 and 4).

    Raises ValueError, which says what is wrong.
    """
    steps = text.split("/")
    if len(text) > limits.pointer_chars_max or len(steps) > limits.pointer_depth_max + 1:
        raise ValueError("too long")
    if steps[0] or re.search(r"~(?![01])", text):
        raise ValueError('a JSON pointer begins with "/", and "~" is written "~0"')
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps[1:])


def amount(text: bytes) -> Quantity:
    """Return the number, of 0 or more, that a text holds; raise ValueError for any other text.

    The number of digits is bounded, so that no text takes long to parse.
    """
    text = text.strip(b" \t\r\n")
    if len(text) > limits.amount_chars_max or not _NUMBER.fullmatch(text):
        raise ValueError("not a number of 0 or more")
    number = Fraction(text.decode())
    if number > limits.amount_max:
        raise ValueError(f"more than {limits.amount_max}")
    return number.numerator if number.denominator == 1 else number


def _of_field(fields: Mapping[bytes, bytes], name: str) -> Quantity | None:
    value = fields.get(name.encode())
    return None if value is None else amount(value)


def _unpriced(term: PriceTerm, lacks: str) -> InvalidRequestError:
    where = f"the body has no {lacks} at {term.name}"
    return no_price(where if term.name else f"the body is no {lacks}")
