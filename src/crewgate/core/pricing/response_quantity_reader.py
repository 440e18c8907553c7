"""Reads the quantities that one response states: headers, JSON numbers, tokens, bytes, events.

It cuts the body into pieces, each of which is passed on whole or not at all. The quantities are
priced in `meter`.
"""

from collections.abc import Callable, Iterator, Sequence

from crewgate import limits
from crewgate.core import event_stream
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.http_types import HeaderField
from crewgate.core.pricing.editable_json import CountItems, EditableJSON
from crewgate.core.pricing.mcp_result import ResultState, result_state
from crewgate.core.pricing.sources import PriceTerm, Quantity
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.pricing.token_usage import TokenUsage, counts, is_usage_only, read, text_bytes
from crewgate.errors import InvalidRequestError


class ResponseQuantityReader:
    """The reader of one response.

    Attributes:
        status: The HTTP status; 0 before the head has arrived.
        stated: The quantities that were stated, by the index of the tariff's response term.
        counts: The tokens stated so far; `is_final` if they are those of the whole response.
        is_dark: Some of the response could not be read, so its cost is not known.
        text: The estimated bytes of generated text; `since` counts those after the last statement.
        events: The server-sent events with data.
        bytes: The bytes of the body.
        result: What the response says of its request, if it is of an MCP server and has arrived.
    """

    def __init__(
        self,
        tariff: Tariff,
        *,
        piece_bytes: int,
        hides_usage: bool = False,
        count: CountItems | None = None,
        room: FairShareLimiter | None = None,
    ) -> None:
        """Plain bodies are cut into pieces of at most `piece_bytes`; events are not cut.

        `room` bounds the bodies that are kept; `count` bounds the JSON that is read.
        """
        self.status = 0
        self.stated: dict[int, Quantity] = {}
        self.counts: TokenUsage | None = None
        self.is_final = False
        self.is_dark = False
        self.text = 0
        self.since = 0
        self.events = 0
        self.bytes = 0
        self.result: ResultState | None = None
        self._tariff = tariff
        self._terms = list(enumerate(tariff.response))
        self._json_terms = [each for each in self._terms if each[1].reads_json]
        self._piece_bytes = piece_bytes
        self._hides_usage = hides_usage
        self._count = count
        self._room = room
        self._event_reader: event_stream.EventReader | None = None
        self._kept: bytearray | None = None

    @property
    def streams(self) -> bool:
        """Whether the response is read event by event."""
        return self._event_reader is not None

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Read the head of the response."""
        self.status = status
        fields = _joined(headers)
        self._read_terms(self._terms, lambda term: term.of_headers(fields))
        if not (self._tariff.reads_json or self._tariff.usage):
            return
        if fields.pop(b"content-encoding", b"identity").strip().lower() != b"identity":
            self.is_dark = True
        elif event_stream.is_stream(fields):
            self._event_reader = event_stream.EventReader(limits.event_bytes_max)
        else:
            # The document is read at its end; until then its usage is not known.
            self.is_dark = self._tariff.usage is not None
            self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield a part of the body in pieces; each piece is read when the caller asks for it."""
        if self._event_reader is not None:
            yield from self._gathered(self._event_reader.feed(data))
            return
        self._keep(data)
        for at in range(0, len(data), self._piece_bytes):
            piece = data[at : at + self._piece_bytes]
            self.bytes += len(piece)
            yield piece

    def end(self, trailers: Sequence[HeaderField]) -> Iterator[bytes]:
        """Read the end of the response; yield what of its body was held back."""
        if self._event_reader is not None:
            yield from self._gathered(self._event_reader.end())
        if self._kept is not None:
            self._read_document(bytes(self._kept))
        fields = _joined(trailers)
        self._read_terms(self._terms, lambda term: term.of_trailers(fields))
        self.close()

    def close(self) -> None:
        """Drop the body that was kept, and free its room."""
        kept, self._kept = self._kept, None
        if kept and self._room is not None:
            self._room.free(len(kept))

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            return
        is_much = len(self._kept) + len(data) > limits.priced_answer_bytes_max
        if is_much or not (self._room is None or self._room.take(len(data))):
            self.close()  # too large to be read, so it states nothing
        else:
            self._kept += data

    def _gathered(self, found: list[event_stream.Event]) -> Iterator[bytes]:
        """Yield events with data, each with the comments and blank lines before it."""
        before = b""
        for event in found:
            self.bytes += len(event.raw)
            data = (event.data or b"").strip(b" \t\r\n")
            if not event.is_whole:
                self.is_dark = True
            is_json = data.startswith(b"{")  # else a comment, or [DONE]
            if not is_json:
                before += event.raw
                continue
            passed = b"" if self._read_event(data) else event.raw
            yield before + passed
            before = b""
        if before:
            yield before

    def _read_event(self, data: bytes) -> bool:
        """Read what an event states; return True if it is hidden from the client."""
        self.events += 1
        is_hidden = self._read_usage(data)
        self._read_json(data)
        return is_hidden

    def _read_document(self, text: bytes) -> None:
        try:
            last = EditableJSON(text, self._count).last() if self._tariff.usage else b""
        except ValueError:
            return
        self._read_usage(last)
        self._read_json(text)

    def _read_usage(self, text: bytes) -> bool:
        usage = self._tariff.usage
        if usage is None:
            return False
        try:
            answer = read(text)
            text_size = max(text_bytes(answer), 1) if self.streams else 0
        except (ValueError, RecursionError):  # its content is not known
            self.counts, self.is_final, self.is_dark = None, False, True
            return False
        self.text += text_size
        self.since += text_size
        try:
            found = counts(usage.dialect, answer, self.counts)
        except ValueError:  # what is stated is not a number of tokens
            self.counts, self.is_final = None, False
            return self._hides_usage and is_usage_only(answer)
        if found is not None:
            self.counts, self.since = found, 0
            # Anthropic's message_start states the input tokens only.
            self.is_final = answer.type != "message_start"
        return self._hides_usage and is_usage_only(answer)

    def _read_json(self, text: bytes) -> None:
        if self._tariff.is_mcp:
            self.result = result_state(text) or self.result
        if self._json_terms:
            self._read_terms(self._json_terms, lambda term: term.of_json(text, self._count))

    def _read_terms(
        self,
        terms: list[tuple[int, PriceTerm]],
        read: Callable[[PriceTerm], Quantity | None],
    ) -> None:
        """Store the quantity that each term states; drop it if it cannot be read."""
        for number, term in terms:
            try:
                found = read(term)
            except (ValueError, InvalidRequestError):
                self.stated.pop(number, None)
                continue
            if found is not None:
                self.stated[number] = found


def _joined(headers: Sequence[HeaderField]) -> dict[bytes, bytes]:
    """Return fields by lower-case name; repeated ones form a list (RFC 9110, section 5.3)."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        before = fields.get(name.lower())
        fields[name.lower()] = value if before is None else b"%b, %b" % (before, value)
    return fields
