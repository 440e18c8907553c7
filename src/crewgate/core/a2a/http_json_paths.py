"""Finds the method of a request of the HTTP+JSON binding by its HTTP method and its path.

(A2A 1.0, section 11.3 and the annotations of `a2a.proto`.) Version 0.3 has the same paths below
`/v1`. Version 1.0 may have the name of a tenant there. `:send` and the like are part of a segment,
so no segment is split or decoded before its method is known.
"""

import re
from typing import NamedTuple

from crewgate.core.a2a.methods import (
    CANCEL_TASK,
    CREATE_PUSH_CONFIG,
    DELETE_PUSH_CONFIG,
    GET_EXTENDED_AGENT_CARD,
    GET_PUSH_CONFIG,
    GET_TASK,
    LIST_PUSH_CONFIGS,
    LIST_TASKS,
    SEND_MESSAGE,
    SEND_STREAMING_MESSAGE,
    SUBSCRIBE_TO_TASK,
    Method,
    Version,
)

_V0_3_PREFIX = "v1"
_TASKS, _CONFIGS = "tasks", "pushNotificationConfigs"
# A tenant of one of these names could not be told from a path without a tenant.
RESERVED_SEGMENTS = frozenset({_V0_3_PREFIX, _TASKS, "extendedAgentCard", "card", ".well-known"})
# RFC 3986, section 2.3, and ":" before the name of an action.
_SEGMENT = re.compile(r"[A-Za-z0-9._~:-]+")
# Of HTTP method and shape; "T" stands for the id of a task, "C" for that of a push configuration.
_SHAPES: dict[tuple[str, str], Method] = {
    ("POST", "message:send"): SEND_MESSAGE,
    ("POST", "message:stream"): SEND_STREAMING_MESSAGE,
    ("GET", "tasks"): LIST_TASKS,
    ("GET", "tasks/T"): GET_TASK,
    ("POST", "tasks/T:cancel"): CANCEL_TASK,
    ("GET", "tasks/T:subscribe"): SUBSCRIBE_TO_TASK,
    ("POST", "tasks/T:subscribe"): SUBSCRIBE_TO_TASK,
    ("POST", "tasks/T/pushNotificationConfigs"): CREATE_PUSH_CONFIG,
    ("GET", "tasks/T/pushNotificationConfigs"): LIST_PUSH_CONFIGS,
    ("GET", "tasks/T/pushNotificationConfigs/C"): GET_PUSH_CONFIG,
    ("DELETE", "tasks/T/pushNotificationConfigs/C"): DELETE_PUSH_CONFIG,
    ("GET", "extendedAgentCard"): GET_EXTENDED_AGENT_CARD,
}
_V0_3_SHAPES = {
    **{key: method for key, method in _SHAPES.items() if method is not LIST_TASKS},
    ("GET", "card"): GET_EXTENDED_AGENT_CARD,
}
del _V0_3_SHAPES["GET", "extendedAgentCard"]


class HTTPJSONTarget(NamedTuple):
    """The parts of a request that its path names.

    Attributes:
        method: The method.
        version: The version whose messages the method exchanges.
        tenant: The tenant; empty if the path names none.
        task_id: The id of a task as the client sent it; empty if the path names none.
        before: The path before this id.
        after: The path after this id.
    """

    method: Method
    version: Version
    tenant: str
    task_id: str
    before: str
    after: str

    def path_with(self, task_id: str) -> str:
        """Return the path with another id of the task."""
        return f"{self.before}{task_id}{self.after}"


def find(http_method: str, path: str) -> HTTPJSONTarget | None:
    """Return what a path names; None if there is no such method.

    `path` begins with a slash and is relative to the URL of the interface. HEAD is not served.
    """
    segments = path.split("/")[1:]
    if not path.startswith("/") or not all(map(_SEGMENT.fullmatch, segments)):
        return None
    if segments[0] == _V0_3_PREFIX:
        return _found(http_method, segments[1:], path, _V0_3_SHAPES, Version.V0_3)
    found = _found(http_method, segments, path, _SHAPES, Version.V1_0)
    if found is not None or segments[0] in RESERVED_SEGMENTS:
        return found
    return _found(http_method, segments[1:], path, _SHAPES, Version.V1_0, tenant=segments[0])


def _found(
    http_method: str,
    segments: list[str],
    path: str,
    shapes: dict[tuple[str, str], Method],
    version: Version,
    *,
    tenant: str = "",
) -> HTTPJSONTarget | None:
    names, task_id, action = list(segments), "", ""
    if len(names) > 1 and names[0] == _TASKS:
        task_id, colon, action = names[1].partition(":")
        names[1] = "T" + colon + action
        if len(names) == 4 and names[2] == _CONFIGS:  # noqa: PLR2004 - tasks/T/…/C
            names[3] = "C"
    method = shapes.get((http_method, "/".join(names)))
    if method is None or (len(names) > 1 and not task_id):
        return None
    if not task_id:
        return HTTPJSONTarget(method, version, tenant, "", path, "")
    before = path[: path.index(f"/{_TASKS}/") + len(_TASKS) + 2]
    after = path[len(before) + len(task_id) :]
    return HTTPJSONTarget(method, version, tenant, task_id, before, after)
