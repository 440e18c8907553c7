"""Sends a message to several servers of a group at once, and collects their answers."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
import trio

from crewgate import limits
from crewgate._native.audit_line import request_text
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core import raw_json
from crewgate.core.mcp.group_results import ListPage, read_page
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.rpc_errors import RefusedMessageError
from crewgate.errors import UnusableResponseError
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.mcp_group.group_session import GroupSession
from crewgate.gateway.mcp_group.member_request import (
    AnswerRoom,
    LeftOutError,
    MemberAnswer,
    ask,
)
from crewgate.gateway.mcp_group.reached_member import ReachedMember

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode


class ServerAnswers(NamedTuple, Generic[_T]):
    """The answers of servers, by their names in the order of the group.

    `left_out` are those with no usable answer, and why. Those that do not have the method are in
    neither. `error` is the JSON-RPC error of the first server that answered with one.
    """

    found: dict[str, _T]
    left_out: dict[str, str]
    error: bytes


class ServerFanOut:
    """Asks the servers on behalf of one caller; `room` counts the memory of the answers."""

    def __init__(
        self,
        services: CallServices,
        group: str,
        reached: Sequence[ReachedMember],
        session: GroupSession | None,
        room: AnswerRoom,
    ) -> None:
        self._services = services
        self._group = group
        self._reached = reached
        self._session = session
        self._room = room

    async def answers(self, message: JSONRPCMessage | None) -> ServerAnswers[MemberAnswer]:
        """Return the answers to a message, or with None to the end of a session.

        Raises:
            RefusedMessageError: A server has ended the session of the client.
        """

        async def answer(reached: ReachedMember) -> MemberAnswer:
            return await self._ask(reached, message, self._room.for_member())

        return await self._every(answer)

    async def pages(self, message: JSONRPCMessage, kind: ListKind) -> ServerAnswers[list[ListPage]]:
        """Return all pages of a list; errors as in `answers`."""

        async def pages_of(reached: ReachedMember) -> list[ListPage]:
            pages: list[ListPage] = []
            asked, take, count = message, self._room.for_member(), 0
            call = request_text(reached.pending.described.id).decode()
            with trio.move_on_after(limits.mcp_group_seconds):
                while len(pages) < limits.mcp_group_pages_max:
                    answer = await self._ask(reached, asked, take)
                    page = await _page(answer, kind)
                    pages.append(page)
                    count += len(page.entries)
                    if count > limits.mcp_group_entries_max:
                        most = limits.mcp_group_entries_max
                        raise LeftOutError(f"its list has more than {most} entries")
                    if page.next_cursor is None:
                        return pages
                    asked = _with_cursor(
                        message,
                        page.next_cursor,
                        f"crewgate/{call}/{kind.member}/{len(pages)}",
                    )
                raise LeftOutError(f"its list has more than {limits.mcp_group_pages_max} pages")
            raise LeftOutError(f"no whole list within {limits.mcp_group_seconds:g} s")

        return await self._every(pages_of)

    async def _ask(
        self,
        reached: ReachedMember,
        message: JSONRPCMessage | None,
        take: Callable[[int], bool],
    ) -> MemberAnswer:
        session = None if self._session is None else self._session[reached.name]
        return await ask(self._services, reached, message, session, take)

    async def _every(self, ask: Callable[[ReachedMember], Awaitable[_T]]) -> ServerAnswers[_T]:
        answers: dict[str, _T] = {}
        left_out: dict[str, str] = {}
        errors: dict[str, bytes] = {}
        ended: list[RefusedMessageError] = []

        async def serve(reached: ReachedMember) -> None:
            try:
                answers[reached.name] = await ask(reached)
            except LeftOutError as error:
                errors[reached.name] = error.error
                if not error.is_lacking:
                    left_out[reached.name] = str(error)
            except RefusedMessageError as error:
                ended.append(error)

        async with trio.open_nursery() as nursery:
            for each in self._reached:
                nursery.start_soon(serve, each)
        if ended:
            raise ended[0]
        names = [each.name for each in self._reached]
        error = next((errors[name] for name in names if errors.get(name)), b"")
        found = {name: answers[name] for name in names if name in answers}
        ordered = {name: left_out[name] for name in names if name in left_out}
        report(self._group, ordered)
        return ServerAnswers(found, ordered, error)


async def _page(answer: MemberAnswer, kind: ListKind) -> ListPage:
    """Read a page of a list; others have their turn after each slice."""
    work = read_page(answer.result or b"", kind)
    while True:
        try:
            next(work)
        except StopIteration as done:
            page: ListPage = done.value
            return page
        except UnusableResponseError as error:
            raise LeftOutError(str(error)) from None
        await trio.lowlevel.checkpoint()


def _with_cursor(message: JSONRPCMessage, cursor: str, request_id: str) -> JSONRPCMessage:
    """Return the request for a later page; no two requests of a session have one id."""
    members = raw_json.members(message.body)
    params = raw_json.members(members.get("params", msgspec.Raw(b"{}")))
    params["cursor"] = msgspec.Raw(_encode(cursor))
    members["id"] = msgspec.Raw(_encode(request_id))
    members["params"] = msgspec.Raw(_encode(params))
    return read_message(_encode(members))


_reported: dict[tuple[str, str], float] = {}


def report(group: str, left_out: Mapping[str, str]) -> None:
    """Log the servers that have no part in an answer; each once a minute."""
    now = time.monotonic()
    for name, why in left_out.items():
        last = _reported.get((group, name))
        if last is not None and now - last < limits.mcp_group_report_seconds:
            continue
        _reported[group, name] = now
        text = "mcp_group.%s: the server %s is left out of an answer: %s"
        _log.warning(text, group, name, why, extra={"subject": name})
