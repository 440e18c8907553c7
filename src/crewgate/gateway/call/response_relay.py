"""Passes the response of one call on to its client, as it arrives and is paid for."""

import math
import sys
import time
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from crewgate import limits
from crewgate._datapath.body_relay import BodyRelay
from crewgate._native.permit import Permit
from crewgate.core import event_stream
from crewgate.core.audit import record_builder
from crewgate.core.audit.records import CallOutcome
from crewgate.core.credits import CREDITS_LEFT, CREDITS_USED, format_credits
from crewgate.core.grpc_status import is_native
from crewgate.core.http_types import HeaderField
from crewgate.core.retry_after import retry_after_seconds
from crewgate.core.rules.finding_text import WARNING_FIELD, warning_value
from crewgate.gateway.call.call_digests import AnswerBody
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.response_metering import ResponseMetering
from crewgate.gateway.call.response_rewriter import ResponseRewriter
from crewgate.gateway.cors import shared
from crewgate.gateway.headers import downstream_headers, nonce_fields, trailer_fields
from crewgate.gateway.tool_route import ToolRoute
from crewgate.server.exchange import Exchange
from crewgate.upstream.interfaces import IncomingResponse, RequestStream

if TYPE_CHECKING:
    from crewgate.gateway.call.proxied_call import ProxiedCall


class ResponseRelay:
    """The response of one call.

    `answered_ns` is when its head came, on the monotonic clock (0: not yet). `body` knows how much
    the client was sent of its body, and passes it on without Python where it can. `is_grpc`: it
    ends with a status in its trailers. `retry_seconds` and `is_failed` are what the rules on
    branches know of it: after how long it asks to call again, and whether its message says that
    the call failed.
    """

    __slots__ = (
        "_answer",
        "_entry",
        "_has_read_head",
        "_metering",
        "_passes_straight",
        "_rewriter",
        "_services",
        "_waits",
        "answered_ns",
        "body",
        "is_failed",
        "is_grpc",
        "retry_seconds",
    )

    def __init__(
        self,
        services: CallServices,
        entry: ToolRoute,
        metering: ResponseMetering | None,
        rewriter: ResponseRewriter | None,
        *,
        straight: bool,
        answer: AnswerBody | None = None,
    ) -> None:
        """`straight`: compiled code may pass on a body that no Python code has to see.

        `answer` gets the body for its digest; None if no rule compares the call.
        """
        self.answered_ns = 0
        self.body = BodyRelay()
        self.is_grpc = False
        self.is_failed = False
        self._services = services
        self._entry = entry
        self._metering = metering
        self._rewriter = rewriter
        self._passes_straight = straight and rewriter is None
        self._has_read_head = False
        self._answer = answer
        self.retry_seconds = 0
        self._waits = False  # for the next slice of the rewriter's work

    def relay(self, call: "ProxiedCall") -> None:
        """Send the part of the response that is here and paid for.

        Raises:
            PeerError: The client has left.
            UnusableResponseError: The client must not get the response.
        """
        stream, exchange, metering = call.stream, call.exchange, self._metering
        if stream is None or call.outcome is not None:
            return
        response = stream.answer
        data = b""
        if not exchange.started:
            if response.informed:
                self._inform(exchange, response)
            if not response.status:
                return
            data = self._take(call, stream)
            if self._rewriter is not None and not self._rewriter.may_begin:
                return
            self._begin(call, response, ends=self._ends(response, data))
        data = data or self._take(call, stream)
        body = self.body
        body.bytes_out += len(data)
        if self._is_whole(response):
            call.ignore_client()
            last = [] if metering is None else metering.final_headers()
            exchange.finish(data, [*trailer_fields(response.trailers), *last])
            call.end(CallOutcome.DONE)
        elif data:
            if body.between_events is not None:
                body.between_events = data.endswith(event_stream.ENDS)
            if not exchange.push(data):
                stream.pause()

    def drop(self, call: "ProxiedCall", stream: RequestStream) -> tuple[int, bool]:
        """Drop what has arrived; return how many bytes that is, and whether it is all.

        Raises:
            UnusableResponseError: A client would not have got the response.
        """
        return len(self._take(call, stream)), self._is_whole(stream.answer)

    def note_answer(self, permit: Permit, outcome: CallOutcome, status: int, cost: int) -> None:
        """Have the rules on branches count the call."""
        answer, authorizer = self._answer, self._services.authorizer
        digest = 0
        has_failed = outcome is CallOutcome.UPSTREAM_ERROR
        if answer is not None:
            digest = authorizer.digests.of_answer(authorizer.table, answer)
            self.is_failed = has_failed or answer.is_failed()
        permit.note_answer(
            digest,
            # The client was told so, and may try again as after such an answer.
            status=HTTPStatus.BAD_GATEWAY if has_failed else status,
            is_failed=self.is_failed,
            retry_seconds=self.retry_seconds,
            cost_micro=cost,
        )

    def close(self) -> None:
        """Drop what is held back, because the call has ended."""
        self.body.close()
        if self._rewriter is not None:
            self._rewriter.close()

    def _take(self, call: "ProxiedCall", stream: RequestStream) -> bytes:
        """Return what the client gets of what has arrived and is paid for."""
        response, metering, rewriter = stream.answer, self._metering, self._rewriter
        if self._waits:
            stream.pause()
            return b""
        passed = b""
        if rewriter is not None and rewriter.is_working:
            passed = rewriter.feed(b"", ends=False)
            if self._works_on_later(call, stream):
                return passed
            stream.resume()
        data = response.take() if metering is None else metering.take(response)
        if self._answer is not None:
            self._answer.add(data)
        if rewriter is None:
            return data
        if not self._has_read_head:
            self._has_read_head = True
            rewriter.begin(response.status, response.headers)
        passed += rewriter.feed(data, ends=self._is_whole(response))
        self._works_on_later(call, stream)
        return passed

    def _works_on_later(self, call: "ProxiedCall", stream: RequestStream) -> bool:
        """Return whether the rewriter has more to do; it goes on when others have had their turn.

        Until then, nothing more is read of the response.
        """
        if self._rewriter is None or not self._rewriter.is_working:
            return False
        self._waits = True
        stream.pause()
        self._services.background_tasks.later(0, partial(self._work_on, call))
        return True

    def _work_on(self, call: "ProxiedCall") -> None:
        self._waits = False
        call.progressed()

    def _is_whole(self, response: IncomingResponse) -> bool:
        """Return whether nothing more of the response goes to the client."""
        if self._rewriter is not None and self._rewriter.is_over:
            return True
        if self._rewriter is not None and self._rewriter.is_working:
            return False
        return response.complete and not (self._metering and self._metering.holds_back)

    def _ends(self, response: IncomingResponse, data: bytes) -> bool:
        """Return whether a response has neither body nor trailers: its head is all of it."""
        return self._is_whole(response) and not data and not response.trailers

    def _begin(self, call: "ProxiedCall", response: IncomingResponse, *, ends: bool) -> None:
        """Send the head. From now on the call is not tried again, so its body is dropped."""
        entry, exchange, metering = self._entry, call.exchange, self._metering
        self.answered_ns = time.monotonic_ns()
        call.release_body()
        headers = downstream_headers(
            response.headers, response.status, entry.fields.responses, version=entry.version
        )
        if metering is not None:
            metering.release_body()
            headers = metering.passed_headers(headers)
        if self._rewriter is not None:
            headers = self._rewriter.head(headers)
        if entry.cors is not None:
            headers = shared(entry.cors, exchange.request, headers)
        if metering is None:
            permit = call.permit
            headers.append((CREDITS_USED, format_credits(permit.price_micro).encode()))
            headers.append((CREDITS_LEFT, format_credits(permit.branch_unspent_micro).encode()))
        else:
            headers += metering.first_headers(ends=ends)
        headers += nonce_fields(exchange.presenter)
        headers += self._warning(call.permit, response)
        if not response.complete:
            self._note_stream(call, response.status, headers)
        exchange.start(response.status, headers, ends=ends)
        if (
            self._passes_straight
            and not response.complete
            and not (self._answer is not None and self._answer.may_be_short(response.headers))
            and exchange.relay_to(self.body)
        ):
            # A metering says how much may pass once it knows what is paid for.
            self.body.bytes_allowed = sys.maxsize if metering is None else 0
            if self._answer is not None:
                self._answer.drop()
            if call.stream is not None:
                call.stream.relay_to(self.body)

    def _warning(self, permit: Permit, response: IncomingResponse) -> list[HeaderField]:
        """Return the field in which a rule on branches warns; note when to call again."""
        if self._answer is not None:
            self.retry_seconds = _retry_seconds(response)
        return [] if permit.finding is None else [(WARNING_FIELD, warning_value(permit.finding))]

    def _note_stream(
        self, call: "ProxiedCall", status: int, headers: Sequence[HeaderField]
    ) -> None:
        """Record the beginning of a response without a length, and how it can be cut short."""
        fields = dict(headers)
        if b"content-length" in fields:
            return
        if event_stream.is_stream(fields):
            self.body.between_events = True
        self.is_grpc = is_native(fields.get(b"content-type", b""))
        permit = call.permit
        self._services.sink.write(
            record_builder.opened(
                call.info,
                permit.grant,
                permit.price_micro,
                status=status,
                would=permit.observed_reason,
            )
        )

    def _inform(self, exchange: Exchange, response: IncomingResponse) -> None:
        for status, headers in response.take_informational():
            filters = self._entry.fields.responses
            exchange.inform(status, downstream_headers(headers, status, filters))


def _retry_seconds(response: IncomingResponse) -> int:
    """Return after how many seconds an answer asks to call again; 0 if it does not."""
    found = next((value for name, value in response.headers if name == b"retry-after"), None)
    if found is None:
        return 0
    seconds = retry_after_seconds(found.decode("ascii", "replace"), time.time())
    # A client that waits until a date waits for less than the seconds rounded up.
    return math.floor(min(seconds or 0.0, limits.rule_retry_seconds_max))
