"""Sends spans or log records over OTLP/HTTP (OTLP 1.x, "OTLP/HTTP"), in JSON or protobuf."""

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Protocol

from crewgate import limits
from crewgate.audit.audit_entry import AuditEntry
from crewgate.config import ExportConfig, ReceiverURL
from crewgate.config.export import OTLPSignal
from crewgate.core.terminal_text import printable
from crewgate.errors import ReceiverRefusedError
from crewgate.export import semantic_conventions
from crewgate.export.channel import Channel, Rejection
from crewgate.upstream.http_poster import HTTPPoster
from crewgate.version import __version__


class Codec(Protocol):
    """What `otlp_json` and `otlp_protobuf` each have."""

    def spans(self, entries: Sequence[AuditEntry]) -> bytes:
        """Return a request with the spans of entries that have one."""

    def logs(self, entries: Sequence[AuditEntry], observed_ns: int) -> bytes:
        """Return a request with the log records of entries."""

    def rejected(self, response: bytes, signal: OTLPSignal) -> tuple[int, str]:
        """Return how many records a response rejects, and its message. Raises ValueError."""


class OTLPChannel:
    """One signal of one receiver."""

    def __init__(
        self, receiver: ExportConfig, url: ReceiverURL, signal: OTLPSignal, machine: str
    ) -> None:
        """`machine` names this machine. Raises ConfigurationError if the encoder is missing."""
        self.name = f"{receiver.name} ({signal})"
        self._signal = signal
        # Protobuf's classes are loaded only where they are used.
        encoding = import_module(f"crewgate.export.otlp_{receiver.encoding}")
        resource = semantic_conventions.resource(__version__, machine)
        self._codec: Codec = encoding.Codec(resource, __version__)
        self._poster = HTTPPoster(
            f"export {receiver.name}",
            url.below(f"/v1/{signal}"),
            encoding.MEDIA,
            tls=receiver.tls,
            credential=receiver.credential,
        )

    def wants(self, entry: AuditEntry) -> bool:
        """Return whether there is a span, or a log record, for this entry."""
        return self._signal == "logs" or entry.has_span

    async def send(self, entries: Sequence[AuditEntry]) -> Rejection:
        """See `Channel`."""
        try:
            body = self._encoded(entries)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ReceiverRefusedError(f"a record cannot be encoded: {error}") from error
        answer = await self._poster.post(body)
        try:
            count, why = self._codec.rejected(answer, self._signal)
        except ValueError:
            # A 200 says that the records were taken, whatever else the receiver sends.
            return Rejection()
        shown = printable(why)[: limits.receiver_message_chars_max]
        return Rejection(min(max(count, 0), len(entries)), shown)

    async def close(self) -> None:
        """See `Channel`."""
        await self._poster.close()

    def _encoded(self, entries: Sequence[AuditEntry]) -> bytes:
        if self._signal == "logs":
            return self._codec.logs(entries, time.time_ns())
        return self._codec.spans(entries)


def channels(receiver: ExportConfig, machine: str) -> Iterator[Channel]:
    """Yield a channel for each signal of a receiver."""
    if receiver.url is not None:
        for signal in receiver.signals:
            yield OTLPChannel(receiver, receiver.url, signal, machine)
