"""Answers the messages to a group that concern all of its servers: merges what each one answers."""

from collections.abc import Collection, Mapping, Sequence

import msgspec
import trio

from crewgate._native.audit_line import request_text
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core import problem_types, raw_json
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import group_results, tool_ids
from crewgate.core.mcp.list_kind import LIST_METHODS, ListKind
from crewgate.core.mcp.methods import METHODS, Action, Revision
from crewgate.core.mcp.refusals import MCPProblemFormat
from crewgate.core.mcp.rpc_errors import RefusedMessageError
from crewgate.errors import UnusableResponseError
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.mcp_group.fan_out_call import GroupReply
from crewgate.gateway.mcp_group.group import MCPGroup
from crewgate.gateway.mcp_group.group_session import (
    GroupSession,
    MemberSession,
    sealed_session,
)
from crewgate.gateway.mcp_group.member_request import AnswerRoom, MemberAnswer
from crewgate.gateway.mcp_group.reached_member import ReachedMember
from crewgate.gateway.mcp_group.server_fan_out import ServerAnswers, ServerFanOut, report

_JSON: tuple[HeaderField, ...] = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
)
_METHODS = {kind: method for method, kind in LIST_METHODS.items()}
# The capabilities by which a client answers requests of servers (2025-11-25, "Lifecycle").
_QUESTIONS = frozenset({"elicitation", "roots", "sampling", "tasks"})
_encode = msgspec.json.Encoder().encode


class AnswerMerger:
    """Answers one client; `form` is how problems of its message are written."""

    def __init__(
        self,
        services: CallServices,
        group: MCPGroup,
        reached: Sequence[ReachedMember],
        session: GroupSession | None,
        form: MCPProblemFormat,
        room: AnswerRoom,
    ) -> None:
        self._group = group
        self._reached = reached
        self._pins = services.pins
        self._form = form
        self._servers = ServerFanOut(services, group.name, reached, session, room)
        self._revision = form.revision or Revision.LEGACY

    async def reply(self, message: JSONRPCMessage | None) -> GroupReply:
        """Return the answer to a message, or with None to the end of a session."""
        try:
            if message is None:
                await self._servers.answers(None)
                return GroupReply(204, [], b"")
            if message.kind == "notification":
                await self._servers.answers(message)
                return GroupReply(202, [], b"")
            if message.method in LIST_METHODS:
                return await self._list(message, LIST_METHODS[message.method])
            if METHODS[message.method].action is Action.DISCOVER:
                return await self._discovery(message)
            if message.method != "ping":
                await self._servers.answers(message)
            return self._result(message, b"{}")
        except RefusedMessageError as error:
            return GroupReply(*self._form.error(error.error))
        except UnusableResponseError as error:
            return self._failure(error)

    async def learn(self, message: JSONRPCMessage, kinds: Sequence[ListKind]) -> None:
        """Ask for lists, and remember what the caller may use of them.

        `message` is a message of the client, whose capabilities the requests repeat.

        Raises:
            RefusedMessageError: A server has ended the session of the client.
        """
        ended: list[RefusedMessageError] = []

        async def learn(kind: ListKind) -> None:
            try:
                await self._list(self._list_request(message, kind), kind)
            except RefusedMessageError as error:
                ended.append(error)

        async with trio.open_nursery() as nursery:
            for kind in kinds:
                nursery.start_soon(learn, kind)
        if ended:
            raise ended[0]

    def _list_request(self, message: JSONRPCMessage, kind: ListKind) -> JSONRPCMessage:
        """Return a request for a list on behalf of the client of a message."""
        params = {} if message.meta is None else {"_meta": msgspec.Raw(message.meta)}
        method, call = _METHODS[kind], request_text(self._reached[0].pending.described.id)
        request_id = f"crewgate/{call.decode()}/{method}"
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        return read_message(_encode(request))

    async def _list(self, message: JSONRPCMessage, kind: ListKind) -> GroupReply:
        answers = await self._servers.pages(message, kind)
        if not answers.found and (answers.left_out or answers.error):
            self._remember(kind, {})
            return self._no_answer(message, answers)
        left_out = self._known(kind, answers.left_out)
        merged = group_results.merge_lists(
            kind, answers.found, self._group.info, left_out, self._revision
        )
        self._remember(kind, merged.names)
        return self._result(message, merged.result)

    def _known(self, kind: ListKind, left_out: Collection[str]) -> dict[str, Sequence[str]]:
        """Return the pinned tools that the caller may use, of servers that gave no list."""
        known: dict[str, Sequence[str]] = dict.fromkeys(left_out, ())
        for each in self._reached if kind is ListKind.TOOLS else ():
            if each.name in known:
                known[each.name] = [
                    name
                    for name in self._pins.names(each.name)
                    if each.permit.allows(tool_ids.tool_id(each.name, name))
                ]
        return known

    async def _discovery(self, message: JSONRPCMessage) -> GroupReply:
        asked = message if self._revision is Revision.MODERN else _without_questions(message)
        answers = await self._servers.answers(asked)
        results, left_out = {}, dict(answers.left_out)
        for name, answer in answers.found.items():
            if answer.result and group_results.is_usable(answer.result, self._revision):
                results[name] = answer.result
            else:
                left_out[name] = "it does not speak this revision of MCP"
                report(self._group.name, {name: left_out[name]})
        if not results:
            return self._no_answer(message, answers)
        merged = group_results.merge_discoveries(
            results, self._group.info, list(left_out), self._revision
        )
        headers = []
        if self._revision is Revision.LEGACY:
            headers = sealed_session(
                {
                    name: MemberSession(
                        answers.found[name].session, group_results.protocol_version(result)
                    )
                    for name, result in results.items()
                },
                self._group.ids_of(self._reached[0].permit.grant),
            )
        return self._result(message, merged, headers)

    def _remember(self, kind: ListKind, names: Mapping[str, Sequence[str]]) -> None:
        branch = self._reached[0].permit.grant.branch_key
        self._group.shown.put(branch, kind, names, trio.current_time())

    def _result(
        self, message: JSONRPCMessage, result: bytes, headers: Sequence[HeaderField] = ()
    ) -> GroupReply:
        body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (bytes(message.id), result)
        return GroupReply(200, [*_JSON, *headers], body)

    def _no_answer(
        self,
        message: JSONRPCMessage,
        answers: ServerAnswers[MemberAnswer] | ServerAnswers[list[group_results.ListPage]],
    ) -> GroupReply:
        """Return why no server has answered: the error of the first one that wrote one."""
        if answers.error:
            body = b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (bytes(message.id), answers.error)
            return GroupReply(200, [*_JSON], body)
        # The reasons, which can name hosts behind the gateway, are in the log only.
        names = ", ".join(answers.left_out)
        why = f"no server of the group has answered ({names}). The log of the gateway says why"
        return self._failure(UnusableResponseError(why))

    def _failure(self, error: UnusableResponseError) -> GroupReply:
        pending, text = self._reached[0].pending, str(error)
        detail = f"{text[:1].upper()}{text[1:]}."
        kind = msgspec.structs.replace(problem_types.UPSTREAM_FAILED, detail=detail)
        answer = self._form.refusal(
            kind,
            pending.described.id,
            authority=pending.exchange.request.authority,
            grant=pending.grant,
        )
        return GroupReply(*answer)


def _without_questions(message: JSONRPCMessage) -> JSONRPCMessage:
    """Return an `initialize` whose client answers no requests of servers.

    The id of such a request does not say which server waits for the answer.
    """
    if message.member("params", "capabilities") is None:
        return message
    members = raw_json.members(message.body)
    params = raw_json.members(members["params"])
    try:
        offered = raw_json.members(params["capabilities"])
    except msgspec.DecodeError:
        return message
    kept = {name: value for name, value in offered.items() if name not in _QUESTIONS}
    params["capabilities"] = msgspec.Raw(_encode(kept))
    members["params"] = msgspec.Raw(_encode(params))
    return read_message(_encode(members))
