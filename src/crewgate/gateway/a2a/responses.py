"""Chooses how the client of an A2A endpoint gets a response."""

import hashlib
from collections.abc import Sequence

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.a2a import budget_extension, service_parameters
from crewgate.core.a2a.client_ids import ResponseTexts
from crewgate.core.a2a.message_fields import Fields
from crewgate.core.a2a.methods import Binding
from crewgate.core.a2a.response_rewriting import AgentResponse
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.http_types import HeaderField
from crewgate.gateway.upstream_work.a2a_work import A2AWork

# Of all responses that the endpoints of this process, which is one worker, hold back.
_room = FairShareLimiter(limits.a2a_responses_bytes_max, limits.a2a_responses_share)
_ETAG_HEX_CHARS = 32  # 128 bits of a digest


class A2AEndpointResponse:
    """The response to one request; a `ResponseRewriter` of a call."""

    __slots__ = ("_is_card", "_messages", "_permit", "_shows_budget", "_work")

    def __init__(
        self,
        binding: Binding,
        fields: Fields,
        texts: ResponseTexts,
        work: A2AWork,
        permit: Permit,
        *,
        shows_budget: bool,
    ) -> None:
        """`shows_budget`: the response has the field AAuth-Budget."""
        self._work = work
        self._messages = AgentResponse(binding, fields, texts, _room, permit.grant.caller)
        self._is_card = fields.card is not None and binding is Binding.HTTP_JSON
        self._permit = permit
        self._shows_budget = shows_budget

    @property
    def may_begin(self) -> bool:
        """Whether the head of the response may be sent to the client."""
        return self._messages.may_begin

    @property
    def is_working(self) -> bool:
        """Return False: all is done at once."""
        return False

    @property
    def is_over(self) -> bool:
        """Whether the client has all of the response, even if the agent goes on."""
        return self._messages.is_over

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Note the head of the response."""
        self._messages.begin(status, headers)

    def feed(self, data: bytes, *, ends: bool) -> bytes:
        """Return what the client gets for the next bytes of the body; `ends`: it has no more.

        Raises:
            UnusableResponseError: The client must not get the response, or the rest of it.
        """
        passed = self._messages.feed(data, ends=ends)
        if ends:
            self._work.answered()
        return passed

    def close(self) -> None:
        """Free what is held back: the call has ended."""
        self._messages.close()

    def head(self, headers: list[HeaderField]) -> list[HeaderField]:
        """Return the fields for the client, when the response begins."""
        kept = self._messages.head(headers)
        if self._is_card:
            # A2A 1.0, section 8.6.1. The card depends on the host and the version of the request,
            # and on no caller.
            digest = hashlib.sha256(self._messages.whole_body).hexdigest()[:_ETAG_HEX_CHARS]
            kept = [field for field in kept if field[0] != b"cache-control"]
            kept.append((b"etag", b'"%b"' % digest.encode()))
            kept.append((b"cache-control", b"private, max-age=%d" % limits.a2a_card_seconds))
            kept.append((b"vary", service_parameters.VERSION))
        # An intermediary must not change the field of a resource behind it.
        if self._shows_budget and all(name != budget_extension.AAUTH_BUDGET for name, _ in kept):
            permit = self._permit
            kept.append(
                budget_extension.aauth_budget(permit.branch_unspent_micro, permit.price_micro)
            )
        return kept
