"""Asks one server of a group on behalf of a caller, as a call of its endpoint would.

The request is judged, and the answer filtered, by the rules of the endpoint. The credential is the
gateway's own, and the server reads who is calling.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, Self

import trio

from crewgate import limits
from crewgate._native.audit_line import request_text
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core import event_stream
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.message_rules import SESSION
from crewgate.core.mcp.rpc_errors import METHOD_NOT_FOUND, RefusedMessageError
from crewgate.core.sealed_ids import IdKind
from crewgate.errors import CrewgateError, MalformedMessageError, UpstreamError
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.response_rewriter import ResponseRewriter
from crewgate.gateway.endpoint import UnservedRequestError
from crewgate.gateway.headers import identity
from crewgate.gateway.mcp.opened_ids import SESSION_GONE
from crewgate.gateway.mcp_group.group_session import MemberSession
from crewgate.gateway.mcp_group.reached_member import ReachedMember
from crewgate.upstream.buffered_request import BufferedResponse, OwnRequest, send

# Of all answers that the groups of this process, which is one worker, merge.
_room = FairShareLimiter(limits.mcp_group_room_bytes_max, limits.mcp_group_share)


class MemberAnswer(NamedTuple):
    """The answer of a server: the JSON of its result or of its error, and the id of its session."""

    result: bytes | None
    error: bytes | None
    session: str


class LeftOutError(CrewgateError):
    """A server has no part in the answer of its group, and why.

    `is_lacking`: it is well, but does not have the method.
    """

    def __init__(self, why: str, *, is_lacking: bool = False, error: bytes = b"") -> None:
        super().__init__(why)
        self.is_lacking = is_lacking
        self.error = error


class AnswerRoom:
    """The memory for the answers to one client, as a context; `take` returns whether there is more.

    Each server gets a part of its own (`for_member`), so that a large one leaves the others theirs.
    """

    def __init__(self, crew: str) -> None:
        self._crew = crew
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _room.free(self._held, self._crew)

    def take(self, size: int) -> bool:
        """Count bytes; return False if the request or the worker has no room for them."""
        if self._held + size > limits.mcp_group_request_bytes_max:
            return False
        if not _room.take(size, self._crew):
            return False
        self._held += size
        return True

    def for_member(self) -> Callable[[int], bool]:
        """Return what counts the bytes of one server."""
        taken = 0

        def take(size: int) -> bool:
            nonlocal taken
            taken += size
            return taken <= limits.mcp_group_bytes_max and self.take(size)

        return take


async def ask(
    services: CallServices,
    reached: ReachedMember,
    message: JSONRPCMessage | None,
    session: MemberSession | None,
    take: Callable[[int], bool],
) -> MemberAnswer:
    """Send a message to a server, or with None the end of its session; return the answer.

    Raises:
        LeftOutError: There is no usable answer within `limits.mcp_group_seconds`.
        RefusedMessageError: The server has ended the session of the client.
    """
    try:
        with trio.fail_after(limits.mcp_group_seconds):
            return await _ask(services, reached, message, session, take)
    except trio.TooSlowError:
        raise LeftOutError(f"no answer within {limits.mcp_group_seconds:g} s") from None


async def _ask(
    services: CallServices,
    reached: ReachedMember,
    message: JSONRPCMessage | None,
    session: MemberSession | None,
    take: Callable[[int], bool],
) -> MemberAnswer:
    route, pending, permit = reached.member.route, reached.pending, reached.permit
    if route.endpoint is None:
        raise AssertionError("each member of a group is an endpoint")
    request = reached.request(message, session)
    body = b"" if message is None else message.body
    target = route.path_of(request.path)
    try:
        judged = route.endpoint.judge(request, body, permit.grant, route.path_of)
    except UnservedRequestError as error:
        raise LeftOutError(str(error)) from None
    reason = judged.pin_refusal(services.pins)
    if reason is not None and not permit.in_observe_mode:
        raise LeftOutError(f"refused: {reason.value}")
    ours: list[HeaderField] = [*identity(permit.grant), *route.own, *judged.headers]
    ours.append((b"x-crewgate-request", request_text(pending.described.id)))
    kept = route.fields.filter.kept(request.headers, pending.token)
    own = OwnRequest(request.method, target, (*kept, *ours), judged.body)
    rewriter = judged.response(permit, services.work, services.pins, target)
    try:
        response = await send(
            route.pool, permit, own, body_bytes_max=limits.mcp_group_bytes_max, take=take
        )
        if response.status == HTTPStatus.NOT_FOUND and session is not None and session.id:
            if rewriter is not None:
                rewriter.begin(response.status, response.headers)
            raise RefusedMessageError(SESSION_GONE)
        return await _answer(reached, message, response, rewriter)
    except UpstreamError as error:
        raise LeftOutError(str(error)) from None
    finally:
        if rewriter is not None:
            rewriter.close()


async def _answer(
    reached: ReachedMember,
    message: JSONRPCMessage | None,
    response: BufferedResponse,
    rewriter: ResponseRewriter | None,
) -> MemberAnswer:
    headers, body = response.headers, response.body
    if rewriter is None:
        headers = [field for field in headers if field[0] != SESSION]
    else:
        rewriter.begin(response.status, headers)
        body = rewriter.feed(body, ends=True)
        while rewriter.is_working:
            await trio.lowlevel.checkpoint()
            body = rewriter.feed(b"", ends=True)
        headers = rewriter.head(headers)
    fields = dict(headers)
    sealed = fields.get(SESSION, b"").decode()
    session = reached.ids.open(sealed, IdKind.MCP_SESSION) if sealed else ""
    if message is None or message.kind != "request":
        return MemberAnswer(None, None, session)
    if event_stream.is_stream(fields):
        body = event_stream.last_data(body, limits.mcp_message_bytes_max)
    try:
        read = read_message(body)
        result, error = read.member("result"), read.member("error")
        code = (read.member("error", "code") or b"").decode("latin-1")
    except MalformedMessageError as malformed:
        why = f"status {response.status} and no JSON-RPC: {malformed}"
        raise LeftOutError(why) from None
    if error is not None and code == str(METHOD_NOT_FOUND):
        raise LeftOutError("it does not have the method", is_lacking=True, error=error)
    if result is None:
        raise LeftOutError(f"it answered with the error {code[:20]}", error=error or b"")
    return MemberAnswer(result, error, session)
