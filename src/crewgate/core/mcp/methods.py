"""The methods of MCP: what each one does, which member names what it uses, and who may send it.

A client sends all of them. Servers send others (sampling, elicitation, roots, and notifications),
which the gateway passes on in responses.
"""

import enum
from typing import NamedTuple


class Revision(enum.Flag):
    """The revisions of the protocol that differ on the wire."""

    MODERN = enum.auto()  # 2026-07-28: no session, `_meta` in each request
    LEGACY = enum.auto()  # 2025-11-25 and before: `initialize`, sessions


MODERN_VERSION = "2026-07-28"
# Streamable HTTP came with 2025-03-26; a server may answer an older version in `initialize`.
LEGACY_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")


def versions_of(revisions: Revision) -> tuple[str, ...]:
    """Return the versions of these revisions, the newest first."""
    modern = (MODERN_VERSION,) if Revision.MODERN in revisions else ()
    return (*modern, *LEGACY_VERSIONS) if Revision.LEGACY in revisions else modern


class Action(enum.Enum):
    """The effect of a method, by which the gateway judges it."""

    FREE = enum.auto()  # anyone who reaches the endpoint may
    STREAM = enum.auto()  # free; what the server of a legacy session sends by itself
    LIST = enum.auto()  # free; the result is filtered
    DISCOVER = enum.auto()  # free; the result has the server's instructions and capabilities
    COMPLETE = enum.auto()  # free, but for a prompt or resource that the caller may use
    LISTEN = enum.auto()  # free, but for resources and tasks that the caller may use
    TOOL = enum.auto()
    PROMPT = enum.auto()
    RESOURCE = enum.auto()
    SUBSCRIBE = enum.auto()  # to a resource: free for a caller who may read it
    TASK = enum.auto()  # names a task, which must be of the caller's branch


class Method(NamedTuple):
    """One method.

    `named` is the member of `params` that the header Mcp-Name repeats. `in_session`: it names a
    request by an id that belongs to a session, so outside of one it could be that of anyone.
    """

    action: Action
    revisions: Revision = Revision.MODERN | Revision.LEGACY
    named: str = ""
    is_notification: bool = False
    in_session: bool = False


_M, _L = Revision.MODERN, Revision.LEGACY
METHODS: dict[str, Method] = {
    "server/discover": Method(Action.DISCOVER, _M),
    "initialize": Method(Action.DISCOVER, _L),
    "ping": Method(Action.FREE, _L),
    "logging/setLevel": Method(Action.FREE, _L),
    "tools/list": Method(Action.LIST),
    "prompts/list": Method(Action.LIST),
    "resources/list": Method(Action.LIST),
    "resources/templates/list": Method(Action.LIST),
    "completion/complete": Method(Action.COMPLETE),
    "subscriptions/listen": Method(Action.LISTEN, _M),
    "tools/call": Method(Action.TOOL, named="name"),
    "prompts/get": Method(Action.PROMPT, named="name"),
    "resources/read": Method(Action.RESOURCE, named="uri"),
    "resources/subscribe": Method(Action.SUBSCRIBE, _L, named="uri"),
    "resources/unsubscribe": Method(Action.SUBSCRIBE, _L, named="uri"),
    "tasks/get": Method(Action.TASK, named="taskId"),
    "tasks/update": Method(Action.TASK, _M, named="taskId"),
    "tasks/cancel": Method(Action.TASK, named="taskId"),
    "tasks/result": Method(Action.TASK, _L, named="taskId"),
    "notifications/initialized": Method(Action.FREE, _L, is_notification=True),
    "notifications/cancelled": Method(Action.FREE, _L, is_notification=True, in_session=True),
    "notifications/progress": Method(Action.FREE, _L, is_notification=True, in_session=True),
    "notifications/roots/list_changed": Method(Action.FREE, _L, is_notification=True),
}
# `tasks/list` is absent on purpose: a gateway without a store cannot tell whose tasks it lists.
# In 2026-07-28 a client cancels a request by closing its response ("Cancellation"). A server that
# knew requests by their ids alone would let one branch cancel those of another.
