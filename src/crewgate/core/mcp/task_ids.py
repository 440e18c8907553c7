"""Seals the ids of tasks in the messages of an MCP server, and opens those that clients send back.

A client learns the id of a task from the result that begins it (2025-11-25, "Tasks"; the extension
`io.modelcontextprotocol/tasks` of 2026-07-28), and finds it again in later results, notifications
and `_meta`. Each of these places has the sealed id. An id elsewhere, such as in a text for the
model, stays as the server wrote it, and does not open.

The tasks of a client, which a server can ask for with `tasks/get` of its own (2025-11-25), keep
their ids.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import msgspec

from crewgate import limits
from crewgate.core import raw_json
from crewgate.core.mcp.response_rewriting import ServerMessage
from crewgate.core.mcp.rpc_errors import bad_params
from crewgate.core.sealed_ids import CallIds, IdKind
from crewgate.errors import UnknownIdError, UnusableResponseError

_RELATED = ("_meta", "io.modelcontextprotocol/related-task", "taskId")
_RELATED_IN_PARAMS = ("params", *_RELATED)
_RELATED_IN_RESULT = ("result", *_RELATED)
_SUBSCRIBED = ("params", "notifications", "taskIds")
_ENDED = frozenset({"completed", "failed", "cancelled"})
# The requests whose result is a task, or begins one; "" stands for any request of a session.
_TASK_RESULTS = frozenset({"tools/call", "tasks/get", "tasks/update", "tasks/cancel", ""})

_texts: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])
_number: msgspec.json.Decoder[float] = msgspec.json.Decoder(float)
_encode = msgspec.json.Encoder().encode


class TaskObserver(Protocol):
    """Notes the tasks of a server, by the server's ids."""

    def task_runs(self, task: str, ttl_ms: float | None) -> None:
        """Note a task that is not over. After `ttl_ms` from now, its server may forget it."""

    def task_ended(self, task: str) -> None:
        """Note that a task is over."""


_Message = TypeVar("_Message", bound=ServerMessage)


class TaskIdSealing:
    """A `MessageEditor` that seals the ids of tasks for one caller."""

    def __init__(
        self,
        ids: CallIds,
        read: Callable[[bytes], ServerMessage],
        observer: TaskObserver,
        method: str,
    ) -> None:
        """`method` is that of the request; empty for the stream of a session."""
        self._ids = ids
        self._read = read
        self._observer = observer
        self._method = method

    def __call__(self, message: ServerMessage) -> bytes | None:
        """Return the message with sealed ids; None for no change.

        Raises:
            UnusableResponseError: An id is empty or too long.
            MalformedMessageError: An id is not a string.
        """
        if not _may_name_tasks(message):
            return None
        original, sealed = message, None
        for path in self._places(message):
            plain = message.text(*path)
            if plain is not None:
                sealed = message.with_text(path, self._seal(plain))
                message = self._read(sealed)
        self._observe(original)  # it remembers ids, which are now known not to be too long
        if message.method == "notifications/subscriptions/acknowledged":
            found = message.member(*_SUBSCRIBED)
            if found is not None:
                tasks = [self._seal(each) for each in _list(found)]
                return with_subscribed_tasks(message.body, tasks)
        return sealed

    def _seal(self, plain: str) -> str:
        try:
            return self._ids.seal(plain, IdKind.MCP_TASK)
        except ValueError as error:
            raise UnusableResponseError(f"it has an unusable id of a task: {error}") from error

    def _places(self, message: ServerMessage) -> Iterator[tuple[str, ...]]:
        """Yield the paths at which a message of a server may have the id of one of its tasks."""
        if message.kind == "response":
            if self._method in _TASK_RESULTS:
                yield "result", "taskId"
                yield "result", "task", "taskId"
                yield ("result", "result", *_RELATED)
            yield _RELATED_IN_RESULT
        elif not message.method.startswith("tasks/"):
            if message.method.startswith("notifications/tasks"):
                yield "params", "taskId"
                yield ("params", "result", *_RELATED)
            yield _RELATED_IN_PARAMS

    def _observe(self, message: ServerMessage) -> None:
        """Report the state of a task that the message has."""
        if message.kind == "response" and self._method == "tasks/result":
            task = message.text(*_RELATED_IN_RESULT)
            if task is not None:
                self._observer.task_ended(task)
            return
        is_notification = message.method.startswith("notifications/tasks")
        if not is_notification and not (
            message.kind == "response" and self._method in _TASK_RESULTS
        ):
            return
        for base in [("params",)] if is_notification else [("result",), ("result", "task")]:
            task, status = message.text(*base, "taskId"), message.text(*base, "status")
            if task is None or status is None:
                continue
            if status in _ENDED:
                self._observer.task_ended(task)
            else:
                ttl = message.member(*base, "ttlMs") or message.member(*base, "ttl")
                self._observer.task_runs(task, _ttl_ms(ttl))


def open_related_task(
    message: _Message, ids: CallIds, read: Callable[[bytes], _Message]
) -> _Message:
    """Return a client's message with the server's id of the task that its `_meta` names.

    Raises:
        RefusedMessageError: The branch has no such task.
        MalformedMessageError: The id is not a string.
    """
    path = _RELATED_IN_RESULT if message.kind == "response" else _RELATED_IN_PARAMS
    sealed = message.text(*path)
    if sealed is None:
        return message
    return read(message.with_text(path, open_task(sealed, ids)))


def open_task(sealed: str, ids: CallIds) -> str:
    """Return the server's id of a task; raise RefusedMessageError if the branch has no such task.

    The error is that of a task that does not exist.
    """
    try:
        return ids.open(sealed, IdKind.MCP_TASK)
    except UnknownIdError:
        raise bad_params("The task does not exist.") from None


def with_subscribed_tasks(body: bytes, tasks: Sequence[str]) -> bytes:
    """Return a message with other task ids in its subscription, which has some already.

    All other values stay as they are written.
    """
    top, middle, last = _SUBSCRIBED
    message = raw_json.members(body)
    params = raw_json.members(message[top])
    notifications = raw_json.members(params[middle])
    notifications[last] = msgspec.Raw(_encode(tasks))
    params[middle] = msgspec.Raw(_encode(notifications))
    message[top] = msgspec.Raw(_encode(params))
    return _encode(message)


def _may_name_tasks(message: ServerMessage) -> bool:
    """Return whether a message has a member `taskId` or `taskIds`, perhaps with escapes."""
    body = message.body
    return b"taskId" in body or b"\\u" in body


def _list(text: bytes) -> list[str]:
    try:
        found = _texts.decode(text)
    except msgspec.DecodeError as error:
        raise UnusableResponseError("its taskIds are not a list of texts") from error
    if len(found) > limits.mcp_subscriptions_max:  # no client has asked for more
        raise UnusableResponseError(
            f"it has {len(found)} taskIds; {limits.mcp_subscriptions_max} are allowed"
        )
    return found


def _ttl_ms(text: bytes | None) -> float | None:
    """Return a time to live; None if it is unlimited, or not a number."""
    try:
        return None if text is None else _number.decode(text)
    except msgspec.DecodeError:
        return None
