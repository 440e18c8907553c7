"""What one answer states of its cost: fields, numbers in a document or in events, tokens, bytes.

Cuts what comes into pieces that are passed on whole or not at all. Knows what is to be read, and
neither rates nor reservations.
"""

from collections.abc import Callable, Iterator, Sequence

from crewgate import limits
from crewgate.core.http import HeaderField
from crewgate.core.pricing import sse
from crewgate.core.pricing.json_document import CountItems, JSONDocument
from crewgate.core.pricing.sources import PriceTerm, Quantity
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.pricing.token_usage import TokenUsage, counts, is_usage_only, read, text_bytes
from crewgate.core.shared_quota import SharedQuota
from crewgate.errors import RequestRefusedError


class UsageReader:
    """Of one answer. `stated` has the quantities by number of the tariff's response terms.

    `counts` are the tokens stated so far, `is_final` tells that they are those of the whole answer;
    `text` is a guess of their bytes, `since` of those after the last statement; `bytes` are those
    of the whole answer. `is_dark` tells that some of it could not be read: what it may have cost
    is not known.
    """

    def __init__(
        self,
        tariff: Tariff,
        *,
        piece_bytes: int,
        hides_usage: bool = False,
        count: CountItems | None = None,
        room: SharedQuota | None = None,
    ) -> None:
        """Pieces have at most `piece_bytes`, and events are whole; `room` is for what is kept."""
        self.status = 0
        self.stated: dict[int, Quantity] = {}
        self.counts: TokenUsage | None = None
        self.is_final = False
        self.is_dark = False
        self.text = 0
        self.since = 0
        self.events = 0
        self.bytes = 0
        self._tariff = tariff
        self._terms = list(enumerate(tariff.response))
        self._json_terms = [each for each in self._terms if each[1].reads_json]
        self._piece_bytes = piece_bytes
        self._hides_usage = hides_usage
        self._count = count
        self._room = room
        self._splitter: sse.EventSplitter | None = None
        self._kept: bytearray | None = None

    def __repr__(self) -> str:
        return f"<UsageReader of {self.bytes} bytes>"

    @property
    def streams(self) -> bool:
        """Whether it is read event by event."""
        return self._splitter is not None

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """The head of the answer."""
        self.status = status
        fields = _joined(headers)
        self._read_terms(self._terms, lambda term: term.of_headers(fields))
        if not (self._json_terms or self._tariff.usage):
            return
        if fields.pop(b"content-encoding", b"identity").strip().lower() != b"identity":
            self.is_dark = True
        elif sse.is_stream(fields):
            self._splitter = sse.EventSplitter()
        else:
            self.is_dark = self._tariff.usage is not None  # until it is read, at its end
            self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """A part of its body, piece by piece; a piece is read when it is asked for."""
        if self._splitter is not None:
            yield from self._gathered(self._splitter.feed(data))
            return
        self._keep(data)
        for at in range(0, len(data), self._piece_bytes):
            piece = data[at : at + self._piece_bytes]
            self.bytes += len(piece)
            yield piece

    def end(self, trailers: Sequence[HeaderField]) -> Iterator[bytes]:
        """The end of it, and what of its body was held for more to come."""
        if self._splitter is not None:
            tail = self._splitter.tail()
            yield from self._gathered(iter([tail] if tail else []))
        if self._kept is not None:
            self._read_document(bytes(self._kept))
        fields = _joined(trailers)
        self._read_terms(self._terms, lambda term: term.of_trailers(fields))
        self.close()

    def close(self) -> None:
        """Nothing more is to be kept."""
        kept, self._kept = self._kept, None
        if kept and self._room is not None:
            self._room.free(len(kept))

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            return
        is_much = len(self._kept) + len(data) > limits.priced_answer_bytes_max
        if is_much or not (self._room is None or self._room.take(len(data))):
            self.close()  # too much to be read: nothing is stated
        else:
            self._kept += data

    def _gathered(self, found: Iterator[bytes]) -> Iterator[bytes]:
        """Events with data, each with the comments and blank lines before it."""
        before = b""
        for event in found:
            self.bytes += len(event)
            data = sse.data_of(event).strip(b" \t\r\n")
            if len(event) > limits.event_bytes_max:
                self.is_dark = True
            if not data.startswith(b"{"):  # a comment, or [DONE]
                before += event
                continue
            passed = b"" if self._read_event(data) else event
            yield before + passed
            before = b""
        if before:
            yield before

    def _read_event(self, data: bytes) -> bool:
        """See what an event states; True if its client is not to see it."""
        self.events += 1
        is_hidden = self._read_usage(data)
        self._read_json(data)
        return is_hidden

    def _read_document(self, text: bytes) -> None:
        try:
            last = JSONDocument(text, self._count).last() if self._tariff.usage else b""
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
        except (ValueError, RecursionError):  # it may have brought anything
            self.counts, self.is_final, self.is_dark = None, False, True
            return False
        self.text += text_size
        self.since += text_size
        try:
            found = counts(usage.dialect, answer, self.counts)
        except ValueError:  # stated, and no number of tokens
            self.counts, self.is_final = None, False
            return self._hides_usage and is_usage_only(answer)
        if found is not None:
            self.counts, self.since = found, 0
            self.is_final = answer.type != "message_start"  # Anthropic's says what was read
        return self._hides_usage and is_usage_only(answer)

    def _read_json(self, text: bytes) -> None:
        if self._json_terms:
            self._read_terms(self._json_terms, lambda term: term.of_json(text, self._count))

    def _read_terms(
        self,
        terms: list[tuple[int, PriceTerm]],
        read: Callable[[PriceTerm], Quantity | None],
    ) -> None:
        """Note the quantity that each term states; one that cannot be read is stated no more."""
        for number, term in terms:
            try:
                found = read(term)
            except (ValueError, RequestRefusedError):
                self.stated.pop(number, None)
                continue
            if found is not None:
                self.stated[number] = found


def _joined(headers: Sequence[HeaderField]) -> dict[bytes, bytes]:
    """By name in small letters; what stands there twice is a list (RFC 9110, section 5.3)."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        before = fields.get(name.lower())
        fields[name.lower()] = value if before is None else b"%b, %b" % (before, value)
    return fields
