"""Routes a request to a group: to the endpoint that it concerns, or to one answer of all."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio
from msgspec import structs

from crewgate import limits
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core import problem_types
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.mcp import message_rules
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.message_rules import LAST_EVENT
from crewgate.core.mcp.methods import METHODS, Action, Revision
from crewgate.core.mcp.refusals import MCPProblemFormat
from crewgate.core.mcp.rpc_errors import (
    RefusedMessageError,
    RPCError,
    bad_params,
    bad_query,
    unknown_method,
)
from crewgate.core.problem_types import ProblemType
from crewgate.core.reasons import Reason
from crewgate.core.sealed_ids import IdKind
from crewgate.core.verdict import Denial
from crewgate.errors import MalformedMessageError, UnknownIdError
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.mcp.opened_ids import SESSION_GONE
from crewgate.gateway.mcp_group.answer_merger import AnswerMerger
from crewgate.gateway.mcp_group.call_pipeline import CallPipeline
from crewgate.gateway.mcp_group.fan_out_call import FanOutCall, GroupReply
from crewgate.gateway.mcp_group.group import MCPGroup
from crewgate.gateway.mcp_group.group_session import GroupSession, open_session
from crewgate.gateway.mcp_group.member_choice import Choice, MemberChooser, NamesNeededError
from crewgate.gateway.mcp_group.member_request import AnswerRoom
from crewgate.gateway.mcp_group.reached_member import ReachedMember
from crewgate.gateway.mcp_group.shown_names import Shown

_BUSY = structs.replace(
    problem_types.BUSY,
    detail="The gateway works on too many other requests to this group, or has just loaded another "
    "configuration. No server has seen this one. Retry shortly.",
)
# Of this process, which is one worker.
_asks = FairShareLimiter(limits.mcp_group_asks_max, limits.mcp_group_share)
_MERGED = frozenset({Action.LIST, Action.DISCOVER, Action.FREE})
_URIS = (ListKind.RESOURCES, ListKind.TEMPLATES)
# The lists that show which endpoint a message concerns.
_KINDS: dict[Action | None, tuple[ListKind, ...]] = {
    Action.TOOL: (ListKind.TOOLS,),
    Action.PROMPT: (ListKind.PROMPTS,),
    Action.RESOURCE: _URIS,
    Action.COMPLETE: (ListKind.PROMPTS, *_URIS),
    Action.LISTEN: _URIS,
}


def _choice(
    reached: Sequence[ReachedMember], message: JSONRPCMessage, lists: dict[ListKind, Shown]
) -> Choice | NamesNeededError | RefusedMessageError:
    names = {kind: each.names for kind, each in lists.items()}
    try:
        return MemberChooser(reached, message, names.get).choose()
    except (NamesNeededError, RefusedMessageError) as error:
        return error


class BusyError(Exception):
    """The worker cannot serve a request now; `kind` is the problem for its client."""

    def __init__(self, kind: ProblemType = _BUSY) -> None:
        super().__init__(kind.slug)
        self.kind = kind


@contextmanager
def _counted(call: FanOutCall) -> Iterator[None]:
    """Count a call among those that ask all servers; raise BusyError if its crew has too many."""
    crew = call.permit.grant.caller
    if not _asks.take(1, crew):
        call.permit.release()
        raise BusyError
    try:
        yield
    finally:
        _asks.free(1, crew)


class GroupRouter:
    """Routes one request; `form` is how its problems are written."""

    def __init__(
        self,
        services: CallServices,
        pipeline: CallPipeline,
        group: MCPGroup,
        reached: Sequence[ReachedMember],
    ) -> None:
        self._services = services
        self._pipeline = pipeline
        self._group = group
        self._reached = reached
        self._session: GroupSession | None = None
        scopes = " ".join(each.endpoint.problem_format.scope for each in reached)
        self._exchange = reached[0].pending.exchange
        self._use(structs.replace(group.problem_format, scope=scopes))

    def _use(self, form: MCPProblemFormat) -> None:
        self.form = self._exchange.problem_format = form

    async def serve(self, body: bytes) -> None:
        """Serve the request, whose body is whole.

        Raises:
            RefusedMessageError: The message breaks a rule, or names nothing that the group has.
            MalformedMessageError: A part of it is not what its method wants.
            BusyError: The worker cannot serve it now.
        """
        if self._pipeline.is_outdated(self._reached[0].pending):
            raise BusyError
        if self._exchange.request.query:
            raise bad_query()
        if self._exchange.request.method == b"POST":
            await self._message(body)
        else:
            await self._bodyless()

    async def _bodyless(self) -> None:
        """End a session, or go on with the stream of one server after an event."""
        self._use(structs.replace(self.form, revision=Revision.LEGACY))
        headers = self._exchange.request.headers
        self._open_session()
        if self._exchange.request.method == b"DELETE":
            if self._session is None:
                raise bad_params("The request has no header Mcp-Session-Id.")
            await self._merged(None, "DELETE")
            return
        event = message_rules.single(headers, LAST_EVENT)
        for each in self._reached if event is not None else ():
            try:
                each.ids.open((event or b"").decode("latin-1"), IdKind.MCP_EVENT)
            except UnknownIdError:
                continue
            await self._hand_on(each, None)
            return
        # The streams of the servers are not merged.
        self._pipeline.refuse_after(
            self._reached[0].pending, Reason.INVALID_REQUEST, problem_types.NO_STREAM
        )

    async def _message(self, body: bytes) -> None:
        try:
            message = read_message(body)
        except MalformedMessageError as error:
            self._use(structs.replace(self.form, message_id=error.id))
            raise RefusedMessageError(RPCError(error.code, str(error))) from None
        headers = self._exchange.request.headers
        version = message_rules.single(headers, message_rules.VERSION)
        self._use(
            structs.replace(
                self.form,
                message_id=bytes(message.id),
                is_tool_call=message.method == "tools/call",
            )
        )
        revision = message_rules.revision_of(message, version)
        self._use(structs.replace(self.form, revision=revision))
        is_lenient = any(each.endpoint.config.lenient_discover for each in self._reached)
        message_rules.check(message, headers, revision, is_lenient=is_lenient)
        self._keep_serving(revision)
        if message.kind == "response":
            raise bad_params("At a group, no server asks its client, so there is no such request.")
        if revision is Revision.LEGACY and message.method != "initialize":
            self._open_session()
        await self._serve(message, revision)

    def _keep_serving(self, revision: Revision) -> None:
        """Leave out the endpoints that do not serve a revision."""
        kept = [each for each in self._reached if each.endpoint.serves(revision)]
        if not kept:
            raise message_rules.not_served(self._reached[0].endpoint.config.served)
        self._reached = kept

    def _open_session(self) -> None:
        """Open the session of the client; only the servers that are part of it count."""
        headers = self._exchange.request.headers
        ids = self._group.ids_of(self._reached[0].permit.grant)
        session = self._session = open_session(headers, ids)
        if session is not None:
            self._reached = [each for each in self._reached if each.name in session]
            if not self._reached:
                raise RefusedMessageError(SESSION_GONE)

    async def _serve(self, message: JSONRPCMessage, revision: Revision) -> None:
        method = METHODS.get(message.method)
        is_known = method is not None and revision in method.revisions
        if method is None or not is_known:
            action = None
        else:
            action = method.action
            if method.is_notification != (message.kind == "notification"):
                raise bad_params(f"{message.method} is no {message.kind}.")
            if action is Action.SUBSCRIBE:
                raise unknown_method(message.method)
        if action in _MERGED:
            if action is Action.LIST and message.cursor is not None:
                raise bad_params("params.cursor is not one that this group has given.")
            await self._merged(message, message.method)
            return
        await self._choose(message, action)

    async def _choose(self, message: JSONRPCMessage, action: Action | None) -> None:
        """Hand a message on to the endpoint that it concerns."""
        kinds = _KINDS.get(action, ())
        lists = self._lists(kinds)
        choice = _choice(self._reached, message, lists)
        if isinstance(choice, NamesNeededError) or (
            isinstance(choice, RefusedMessageError) and self._may_be_old(lists)
        ):
            wanted = choice.kinds if isinstance(choice, NamesNeededError) else kinds
            if not await self._learn(message, wanted):
                return
            if self._pipeline.is_outdated(self._reached[0].pending):
                raise BusyError
            choice = _choice(self._reached, message, self._lists(kinds))
        if isinstance(choice, NamesNeededError):
            # So many others have asked meanwhile that the lists are gone again.
            raise BusyError
        if isinstance(choice, RefusedMessageError):
            raise choice
        await self._hand_on(choice.reached, choice.message)

    def _lists(self, kinds: Sequence[ListKind]) -> dict[ListKind, Shown]:
        """Return the lists that the worker knows."""
        branch, now = self._reached[0].permit.grant.branch_key, trio.current_time()
        found = {kind: self._group.shown.of(branch, kind, now) for kind in kinds}
        return {kind: shown for kind, shown in found.items() if shown is not None}

    def _may_be_old(self, lists: dict[ListKind, Shown]) -> bool:
        """Return whether a server may have something by now that a list does not have."""
        oldest = min((each.at for each in lists.values()), default=math.inf)
        return trio.current_time() - oldest >= limits.mcp_group_renew_seconds

    async def _hand_on(self, reached: ReachedMember, message: JSONRPCMessage | None) -> None:
        session = None if self._session is None else self._session[reached.name]
        self._exchange.body_bytes_max = reached.member.route.body_bytes_max
        work = self._pipeline.go_on(reached.call(message, session))
        if work is not None:
            await work

    async def _merged(self, message: JSONRPCMessage | None, method: str) -> None:
        """Answer a message for all endpoints, or end the sessions there if there is none."""
        call = self._begin(method)
        if call is None:
            return

        async def work() -> GroupReply:
            with AnswerRoom(call.permit.grant.caller) as room:
                return await self._merger(room).reply(message)

        with _counted(call):
            await call.answer(work)

    async def _learn(self, message: JSONRPCMessage, kinds: Sequence[ListKind]) -> bool:
        """Ask the endpoints for lists; return False if the call has been ended meanwhile."""
        call = self._begin(message.method)
        if call is None:
            return False

        async def work() -> bool:
            with AnswerRoom(call.permit.grant.caller) as room:
                await self._merger(room).learn(message, kinds)
            return True

        with _counted(call):
            return bool(await call.prepare(work))

    def _begin(self, method: str) -> FanOutCall | None:
        """Return a call that a revocation ends; None if the gate refuses it by now.

        The body may have come long after the head, so the gate is asked again about each endpoint.
        """
        asked = [
            (each, self._pipeline.ask(each.pending, drawn=False, price=0)) for each in self._reached
        ]
        permits = [permit for _, permit in asked if not isinstance(permit, Denial)]
        if not permits:
            first, denial = asked[0]
            self._pipeline.forward_or_refuse(first.pending, denial)
            return None
        self._reached = [each for each, verdict in asked if not isinstance(verdict, Denial)]
        permit, *others = permits
        for other in others:
            other.release()
        if not self._services.sink.ready():
            permit.release()
            raise BusyError(problem_types.AUDIT_UNAVAILABLE)
        at = self._reached[0].pending
        return FanOutCall(self._services, at, permit, self._group.name, method)

    def _merger(self, room: AnswerRoom) -> AnswerMerger:
        return AnswerMerger(
            self._services, self._group, self._reached, self._session, self.form, room
        )
