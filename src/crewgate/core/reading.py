"""What one answer states of its cost: fields, numbers in a document or in events, tokens, bytes.

Cuts what comes into pieces that are passed on whole or not at all. Knows what is to be read, and
neither rates nor reservations.
"""

from collections.abc import Iterator, Sequence

import msgspec

from crewgate import limits
from crewgate.core import events
from crewgate.core.document import Document
from crewgate.core.prices import Quantity, Tariff, amount
from crewgate.core.usage import Counts, counts, is_usage_only, text_bytes
from crewgate.errors import RequestRefusedError

Field = tuple[bytes, bytes]

_INSIDE = {"number", "items"}


class Reading:
    """Of one answer. `stated` has the quantities by number of the tariff's response terms.

    `counts` are the tokens stated so far, `is_final` tells that they are those of the whole answer;
    `text` and `bytes` are the bytes of its text (where `guesses`) and of all of it.
    """

    def __init__(
        self, tariff: Tariff, *, piece_bytes: int, guesses: bool, hides_usage: bool
    ) -> None:
        """Pieces have at most `piece_bytes`, and events are whole."""
        self.status = 0
        self.stated: dict[int, Quantity] = {}
        self.counts: Counts | None = None
        self.is_final = False
        self.text = 0
        self.bytes = 0
        self._tariff = tariff
        self._piece_bytes = piece_bytes
        self._guesses = guesses
        self._hides_usage = hides_usage
        self._splitter: events.Splitter | None = None
        self._kept: bytearray | None = None

    def __repr__(self) -> str:
        return f"<Reading of {self.bytes} bytes>"

    @property
    def streams(self) -> bool:
        """Whether it is read event by event."""
        return self._splitter is not None

    def begin(self, status: int, headers: Sequence[Field]) -> None:
        """The head of the answer."""
        self.status = status
        fields = {name.lower(): value for name, value in headers}
        self._read_fields("header", fields)
        inside = any(term.source in _INSIDE for term in self._tariff.response)
        if not (inside or self._tariff.usage) or b"content-encoding" in fields:
            return
        if events.is_stream(fields):
            self._splitter = events.Splitter()
        else:
            self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """A part of its body, piece by piece; a piece is read when it is asked for."""
        if self._splitter is not None:
            for event in self._splitter.feed(data):
                yield self._event(event)
            return
        self._keep(data)
        for at in range(0, len(data), self._piece_bytes):
            piece = data[at : at + self._piece_bytes]
            self.bytes += len(piece)
            yield piece

    def end(self, trailers: Sequence[Field]) -> Iterator[bytes]:
        """The end of it, and what of its body was held for more to come."""
        tail = self._splitter.tail() if self._splitter is not None else b""
        if tail:
            yield self._event(tail)
        if self._kept is not None:
            self._read_document(bytes(self._kept))
        self._read_fields("trailer", {name.lower(): value for name, value in trailers})

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            return
        if len(self._kept) + len(data) > limits.priced_answer_bytes_max:
            self._kept = None  # too much to be read: nothing is stated
        else:
            self._kept += data

    def _event(self, event: bytes) -> bytes:
        self.bytes += len(event)
        data = events.data_of(event)
        if not data.startswith(b"{"):  # a comment, or [DONE]
            return event
        is_hidden = self._read_usage(data)
        self._read_terms(data)
        return b"" if is_hidden else event

    def _read_document(self, text: bytes) -> None:
        try:
            last = Document(text).last() if self._tariff.usage else b""
        except ValueError:
            return
        self._read_usage(last)
        self._read_terms(text)

    def _read_usage(self, text: bytes) -> bool:
        """See what an event, or a whole answer, states; True if its client is not to see it."""
        usage = self._tariff.usage
        if usage is None:
            return False
        try:
            answer = msgspec.json.decode(text)
            found = counts(usage.dialect, answer, self.counts)
        except (ValueError, RecursionError):  # stated, and no number of tokens
            self.counts, self.is_final = None, False
            return False
        if found is not None:
            self.counts = found
            self.is_final = answer.get("type") != "message_start"  # Anthropic's says what was read
        if self._guesses:
            self.text += text_bytes(answer)
        return self._hides_usage and is_usage_only(answer)

    def _read_terms(self, text: bytes) -> None:
        for number, term in enumerate(self._tariff.response):
            if term.source not in _INSIDE:
                continue
            try:
                document = Document(text)
                found = document.find(term.place)
                if found is None:
                    continue
                is_number = term.source == "number"
                self.stated[number] = amount(found) if is_number else document.items(term.place)
            except (ValueError, RequestRefusedError):
                self.stated.pop(number, None)

    def _read_fields(self, source: str, fields: dict[bytes, bytes]) -> None:
        for number, term in enumerate(self._tariff.response):
            value = fields.get(term.place[0].encode()) if term.source == source else None
            if value is None:
                continue
            try:
                self.stated[number] = amount(value)
            except ValueError:
                self.stated.pop(number, None)
