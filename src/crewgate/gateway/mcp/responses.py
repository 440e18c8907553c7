"""Chooses how the client of an MCP endpoint gets a response.

A result that lists something is read message by message, and shows only what the caller may use.
So is a result that can name a task, whose id is sealed, and each stream of a legacy server: it can
have messages about all that its session has. Any other result passes as it comes, or with a note.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus

from crewgate import limits
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate._native.permit import Permit
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import tool_ids
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.message_filter import CallerView, MessageFilter
from crewgate.core.mcp.message_rules import CAPABILITIES, SESSION, TASKS
from crewgate.core.mcp.methods import Action, Revision, versions_of
from crewgate.core.mcp.pins.pin_observer import PinObserver
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.mcp.response_rewriting import MCPResponseRewriter, MessageEditor
from crewgate.core.mcp.result_notes import NotedResponse, note_editor
from crewgate.core.mcp.task_ids import TaskIdSealing
from crewgate.core.rules.finding_text import explanation
from crewgate.core.sealed_ids import CallIds, IdKind
from crewgate.errors import UnusableResponseError
from crewgate.gateway.mcp.endpoint import MCPEndpoint
from crewgate.gateway.upstream_work.mcp_work import MCPWork

# The results of these have parts that are not for every caller, or may be kept too long.
_FILTERED = frozenset({Action.LIST, Action.DISCOVER, Action.RESOURCE, Action.LISTEN, Action.STREAM})
# The path of the capability without which a server begins no task.
_TASKS = ("params", "_meta", CAPABILITIES, "extensions", TASKS)
_REDIRECTION = 300  # RFC 9110, section 15.4: lower ones are success
# Of all responses that the endpoints of this process, which is one worker, hold back.
_room = FairShareLimiter(limits.mcp_responses_bytes_max, limits.mcp_responses_share)


class MCPEndpointResponse:
    """The response to one message; a `ResponseRewriter` of a call."""

    __slots__ = (
        "_ends_session",
        "_ids",
        "_make",
        "_make_noted",
        "_messages",
        "_reads_bodies",
        "_reads_streams",
        "_session",
        "_starts_session",
        "_work",
    )

    def __init__(
        self,
        make: Callable[[], MCPResponseRewriter] | None,
        make_noted: Callable[[], NotedResponse] | None,
        ids: CallIds,
        work: MCPWork,
        *,
        reads_streams: bool,
        reads_bodies: bool,
        starts_session: bool,
        ends_session: bool,
    ) -> None:
        """`make` returns what judges and changes the body.

        `reads_streams`: the client gets no stream of events that the gateway has not read, and
        `reads_bodies`: no other body. A body that the gateway does not have to read passes as it
        comes, or `make_noted` returns what adds a note to its result.
        """
        self._make = make
        self._make_noted = make_noted
        self._messages: MCPResponseRewriter | NotedResponse | None = None
        self._ids = ids
        self._work = work
        self._reads_streams = reads_streams
        self._reads_bodies = reads_bodies
        self._starts_session = starts_session
        self._ends_session = ends_session
        self._session = b""

    @property
    def may_begin(self) -> bool:
        """Whether the head of the response may be sent to the client."""
        return self._messages is None or self._messages.may_begin

    @property
    def is_working(self) -> bool:
        """Whether there is more to do for what `feed` got: call it again without data."""
        return self._messages is not None and self._messages.is_working

    @property
    def is_over(self) -> bool:
        """Whether the client has all of the response, even if its server goes on."""
        return self._messages is not None and self._messages.is_over

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Note the head of the response.

        Raises:
            UnusableResponseError: The client must not get the response.
        """
        fields = dict(headers)
        if self._starts_session and SESSION in fields:
            self._session = self._sealed_session(fields[SESSION])
        self._note_session(status, fields.get(SESSION, b""))
        # A compressed stream is not passed on: it cannot be read.
        is_stream = fields.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        is_read = self._reads_streams if is_stream else self._reads_bodies
        make = self._make if is_read else self._make_noted
        if make is not None:
            self._messages = make()
            self._messages.begin(status, headers)

    def feed(self, data: bytes, *, ends: bool) -> bytes:
        """Return what the client gets for the next bytes of the body; `ends`: it has no more.

        Raises:
            UnusableResponseError: The client must not get the response, or the rest of it.
        """
        return data if self._messages is None else self._messages.feed(data, ends=ends)

    def close(self) -> None:
        """Drop what is held back, because the call has ended."""
        if self._messages is not None:
            self._messages.close()

    def head(self, headers: list[HeaderField]) -> list[HeaderField]:
        """Return the fields for the client: the id of a session is sealed, or left out."""
        kept = [field for field in headers if field[0] != SESSION]
        if self._session:
            kept.append((SESSION, self._session))
        return kept if self._messages is None else self._messages.head(kept)

    def _sealed_session(self, session: bytes) -> bytes:
        """Return the id of a session for the client; UnusableResponseError if it can have none."""
        try:
            return self._ids.seal(session.decode("ascii"), IdKind.MCP_SESSION).encode()
        except ValueError as error:
            raise UnusableResponseError(
                f"the server gave its session an id that cannot be sealed: {error}"
            ) from None

    def _note_session(self, status: int, session: bytes) -> None:
        if status == HTTPStatus.NOT_FOUND or (self._ends_session and status < _REDIRECTION):
            self._work.session_ended()
        elif self._session:
            self._work.session_runs(session.decode("ascii"))
        elif not self._starts_session:
            self._work.session_runs()


def response_to(
    endpoint: MCPEndpoint,
    permit: Permit,
    ids: CallIds,
    work: MCPWork,
    pins: WorkerPins,
    *,
    message: JSONRPCMessage | None,
    action: Action | None,
    revision: Revision,
) -> MCPEndpointResponse:
    """Return the response to a message; None stands for the stream or the end of a session."""
    is_request = message is not None and message.kind == "request"
    ends_session = message is None and action is not Action.STREAM
    # Only a request has a known response. A stream can have those to all requests of a session.
    method = message.method if message is not None and is_request else ""
    is_legacy = revision is Revision.LEGACY and not ends_session
    is_filtered = is_legacy or action in _FILTERED
    names_tasks = is_legacy or action is Action.LISTEN or _names_tasks(message, action)
    request_id = message.id_value if message is not None and is_request else None
    finding = permit.finding if action is Action.TOOL else None
    add_note = None if finding is None else note_editor(explanation(finding))

    def make() -> MCPResponseRewriter:
        editors: list[MessageEditor] = []
        if is_filtered:
            observer = PinObserver(
                endpoint.name,
                pins,
                method,
                may_refuse=not permit.in_observe_mode,
                is_first_page=message is not None and message.member("params", "cursor") is None,
            )
            view = _view(endpoint, permit, revision, ids, observer)
            editors += observer, MessageFilter(method, view)
        if names_tasks:
            editors.append(TaskIdSealing(ids, read_message, work, method))
        if add_note is not None:
            editors.append(add_note)
        return MCPResponseRewriter(
            read_message,
            editors,
            request_id=request_id,
            is_resumable=is_legacy,
            seal_event_id=_sealing(ids, IdKind.MCP_EVENT, "an event") if is_legacy else None,
            room=_room,
            crew=permit.grant.caller,
        )

    make_noted = None
    if add_note is not None and request_id is not None:
        crew = permit.grant.caller
        make_noted = partial(
            NotedResponse, read_message, add_note, request_id=request_id, room=_room, crew=crew
        )
    return MCPEndpointResponse(
        make if is_filtered or names_tasks else None,
        make_noted,
        ids,
        work,
        # A server may send messages about all that a session has on any stream of the session.
        reads_streams=is_filtered or names_tasks,
        reads_bodies=(is_filtered or names_tasks)
        and (
            not is_legacy or action in _FILTERED or action is Action.TASK or _asks_for_task(message)
        ),
        starts_session=method == "initialize",
        ends_session=ends_session,
    )


def is_unread(message: JSONRPCMessage, action: Action, revision: Revision) -> bool:
    """Return whether the result of a message passes as it comes, and begins no work."""
    is_plain = action is Action.TOOL or action is Action.PROMPT
    return is_plain and revision is Revision.MODERN and not _names_tasks(message, action)


def _names_tasks(message: JSONRPCMessage | None, action: Action | None) -> bool:
    """Return whether the response to a modern request can begin a task, or name one."""
    if action is Action.TOOL and message is not None:
        return message.member(*_TASKS) is not None
    return action is Action.TASK


def _asks_for_task(message: JSONRPCMessage | None) -> bool:
    """Return whether a legacy request wants a task as its result (2025-11-25, "Tasks")."""
    return message is not None and message.member("params", "task") is not None


def _view(
    endpoint: MCPEndpoint, permit: Permit, revision: Revision, ids: CallIds, pins: PinObserver
) -> CallerView:
    """Return what the caller with this permit may see of an endpoint."""
    name, classes, allows = endpoint.name, endpoint.classes, permit.allows

    def may_read(uri: str) -> bool:
        try:
            return allows(tool_ids.resource_id(name, classes.class_of(uri)))
        except ValueError:
            return False

    def may_read_some(template: str) -> bool:
        found = classes.classes_of_template(template)
        return any(allows(tool_ids.resource_id(name, each)) for each in found)

    life_ms = (permit.grant.claims.exp - time.time()) * 1000
    return CallerView(
        {
            ListKind.TOOLS: lambda tool: allows(tool_ids.tool_id(name, tool)) and pins.shows(tool),
            ListKind.PROMPTS: lambda prompt: allows(tool_ids.prompt_id(name, prompt)),
            ListKind.RESOURCES: may_read,
            ListKind.TEMPLATES: may_read_some,
        },
        ttl_ms_max=max(0, min(limits.mcp_list_ttl_ms_max, int(life_ms)))
        if revision is Revision.MODERN
        else None,
        versions=versions_of(endpoint.config.served),
        withheld=_WITHHELD,
        shows_instructions=endpoint.config.show_instructions,
        seal_cursor=_sealing(ids, IdKind.MCP_CURSOR, "the next page"),
    )


# A gateway without a store cannot tell whose tasks a server lists.
_WITHHELD = (("tasks", "list"),)


def _sealing(ids: CallIds, kind: IdKind, what: str) -> Callable[[str], str]:
    def seal(plain: str) -> str:
        try:
            return ids.seal(plain, kind)
        except ValueError as error:
            raise UnusableResponseError(f"it has an unusable id of {what}: {error}") from None

    return seal
