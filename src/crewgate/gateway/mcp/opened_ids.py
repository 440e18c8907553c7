"""Opens the sealed ids of a message, so that the server gets the ids that it gave.

An id that this branch did not get at this endpoint does not exist, also if another branch has it.
"""

from collections.abc import Sequence

import msgspec

from crewgate import limits
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import message_rules
from crewgate.core.mcp.methods import METHODS, Action, Revision
from crewgate.core.mcp.rpc_errors import (
    INVALID_REQUEST,
    RefusedMessageError,
    RPCError,
    bad_params,
    dropped,
)
from crewgate.core.mcp.task_ids import open_related_task, open_task, with_subscribed_tasks
from crewgate.core.sealed_ids import CallIds, IdKind
from crewgate.errors import UnknownIdError

# 2025-11-25, "Session management": clients then begin a new session.
SESSION_GONE = RPCError(INVALID_REQUEST, "The session does not exist. Initialize a new one.", 404)
_EVENT_GONE = RPCError(INVALID_REQUEST, "The event does not exist, so no stream goes on after it.")

_texts = msgspec.json.Decoder(list[str])


def open_ids(message: JSONRPCMessage, ids: CallIds) -> JSONRPCMessage:
    """Return the message with the server's own ids and cursor.

    Raises:
        RefusedMessageError: The branch has no such task, or got no such cursor.
        MalformedMessageError: The id of a task in `_meta` is not a string.
    """
    message = open_related_task(message, ids, read_message)
    method = METHODS.get(message.method)
    action = None if method is None else method.action
    if action is Action.TASK:
        sealed = message.task_id
        if sealed is None:
            raise bad_params("params.taskId is missing.")
        return read_message(message.with_text(("params", "taskId"), open_task(sealed, ids)))
    if action is Action.LIST and message.cursor is not None:
        return read_message(message.with_text(("params", "cursor"), _cursor(message.cursor, ids)))
    if action is Action.LISTEN and message.member("params", "notifications", "taskIds"):
        tasks = [open_task(sealed, ids) for sealed in subscribed_tasks(message)]
        return read_message(with_subscribed_tasks(message.body, tasks))
    return message


def open_session(headers: Sequence[HeaderField], ids: CallIds) -> list[HeaderField]:
    """Return the header with the server's id of a legacy session; nothing if there is none.

    Raises:
        RefusedMessageError: The branch has no such session.
    """
    return _open_header(headers, message_rules.SESSION, IdKind.MCP_SESSION, ids, SESSION_GONE)


def open_session_of(
    message: JSONRPCMessage, revision: Revision, headers: Sequence[HeaderField], ids: CallIds
) -> list[HeaderField]:
    """Return the header with the server's id of the session of a message; nothing if it has none.

    Raises:
        RefusedMessageError: The branch has no such session, or the message needs one.
    """
    session: list[HeaderField] = []
    if revision is Revision.LEGACY and message.method != "initialize":
        session = open_session(headers, ids)
    method = METHODS.get(message.method)
    if not session and (message.kind == "response" or (method is not None and method.in_session)):
        raise dropped()
    return session


def open_last_event(headers: Sequence[HeaderField], ids: CallIds) -> list[HeaderField]:
    """Return the header with the server's id of the event after which a legacy stream goes on.

    Raises:
        RefusedMessageError: The branch got no such event.
    """
    return _open_header(headers, message_rules.LAST_EVENT, IdKind.MCP_EVENT, ids, _EVENT_GONE)


def _open_header(
    headers: Sequence[HeaderField], name: bytes, kind: IdKind, ids: CallIds, unknown: RPCError
) -> list[HeaderField]:
    """Return a header with the server's id; nothing if there is none."""
    plain = opened_header(headers, name, kind, ids, unknown)
    return [] if plain is None else [(name, plain.encode())]


def opened_header(
    headers: Sequence[HeaderField], name: bytes, kind: IdKind, ids: CallIds, unknown: RPCError
) -> str | None:
    """Return what the sealed id in a header stands for; None if there is no such header.

    Raises:
        RefusedMessageError: The branch did not get the id; the error is `unknown`.
    """
    sealed = message_rules.single(headers, name)
    if sealed is None:
        return None
    try:
        return ids.open(sealed.decode("latin-1"), kind)
    except UnknownIdError:
        raise RefusedMessageError(unknown) from None


def subscribed_resources(message: JSONRPCMessage) -> list[str]:
    """Return the URIs whose changes `subscriptions/listen` asks for.

    Raises:
        RefusedMessageError: They are not a list of texts, or too many.
    """
    found = message.member("params", "notifications", "resourceSubscriptions")
    return [] if found is None else _list(found, "resourceSubscriptions")


def subscribed_tasks(message: JSONRPCMessage) -> list[str]:
    """Return the sealed ids of the tasks whose changes `subscriptions/listen` asks for.

    Raises:
        RefusedMessageError: They are not a list of texts, or too many.
    """
    found = message.member("params", "notifications", "taskIds")
    return [] if found is None else _list(found, "taskIds")


def _cursor(sealed: str, ids: CallIds) -> str:
    try:
        return ids.open(sealed, IdKind.MCP_CURSOR)
    except UnknownIdError:
        raise bad_params("params.cursor is not one that this endpoint has given.") from None


def _list(text: bytes, name: str) -> list[str]:
    try:
        found = _texts.decode(text)
    except msgspec.DecodeError:
        raise bad_params(f"params.notifications.{name} is not a list of texts.") from None
    if len(found) > limits.mcp_subscriptions_max:
        raise bad_params(
            f"params.notifications.{name} has {len(found)} entries; at most "
            f"{limits.mcp_subscriptions_max} are possible."
        )
    return found
