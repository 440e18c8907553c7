"""Finds the tasks of a context at an agent, for a call that ended before it named its task.

A message that waits for its task (A2A 1.0, section 3.2.2) shows no id until the task has ended. If
its branch is revoked meanwhile, only a list of its context shows what there is to cancel. Version
0.3 has no such list.
"""

from urllib.parse import urlencode

import msgspec

from crewgate import limits
from crewgate.core import protobuf_wire as wire
from crewgate.core.a2a.agent_request import AgentRequest, call_grpc, get, post_json
from crewgate.core.a2a.errors import INVALID_AGENT_RESPONSE, A2AError
from crewgate.core.a2a.grpc_messages import MessageReader
from crewgate.core.a2a.message_fields import ENDED, ENDED_NUMBERS
from crewgate.core.a2a.methods import Binding, Version

_encode = msgspec.json.Encoder().encode
# The numbers of `a2a.proto`.
_TENANT, _CONTEXT, _PAGE_SIZE, _HISTORY_LENGTH = 1, 2, 4, 6  # of ListTasksRequest
_TASKS, _ID, _STATUS, _STATE = 1, 1, 3, 1  # of ListTasksResponse, Task and TaskStatus


class _Status(msgspec.Struct):
    state: str = ""


class _Task(msgspec.Struct, rename="camel"):
    id: str
    context_id: str = ""
    status: _Status = msgspec.field(default_factory=_Status)


class _Tasks(msgspec.Struct):
    tasks: list[_Task] = []


class _RPCResult(msgspec.Struct):
    result: _Tasks = msgspec.field(default_factory=_Tasks)


_tasks = msgspec.json.Decoder(_Tasks).decode
_rpc_result = msgspec.json.Decoder(_RPCResult).decode


def list_request(context: str, binding: Binding, tenant: str = "") -> AgentRequest:
    """Return the request for the newest tasks of a context, by the agent's own name for it."""
    if binding is Binding.GRPC:
        return _by_grpc(context, tenant)
    found = {
        "contextId": context,
        "pageSize": limits.a2a_searched_tasks_max,
        "historyLength": 0,
    }
    if binding is Binding.HTTP_JSON:
        above = f"/{tenant}" if tenant else ""
        return get(f"{above}/tasks?{urlencode(found)}", Version.V1_0)
    params = found | ({"tenant": tenant} if tenant else {})
    message = {"jsonrpc": "2.0", "id": "crewgate/list", "method": "ListTasks", "params": params}
    return post_json("", Version.V1_0, _encode(message))


def _by_grpc(context: str, tenant: str) -> AgentRequest:
    message = wire.delimited(_TENANT, tenant.encode()) if tenant else b""
    message += wire.delimited(_CONTEXT, context.encode())
    message += wire.integer(_PAGE_SIZE, limits.a2a_searched_tasks_max)
    message += wire.integer(_HISTORY_LENGTH, 0)
    return call_grpc("ListTasks", Version.V1_0, message)


def running_tasks(context: str, binding: Binding, body: bytes) -> list[str] | None:
    """Return the tasks of the context that go on; None if the list has no task of it.

    An agent may ignore the context, so the list can have tasks of other callers.

    Raises:
        A2AError: The list cannot be read.
    """
    try:
        tasks = _of_grpc(body) if binding is Binding.GRPC else _of_json(body, binding)
    except (ValueError, RecursionError):
        raise A2AError(INVALID_AGENT_RESPONSE, "a list of tasks") from None
    own = [(task, has_ended) for task, its_context, has_ended in tasks if its_context == context]
    return [task for task, has_ended in own if not has_ended] if own else None


def _of_json(body: bytes, binding: Binding) -> list[tuple[str, str, bool]]:
    found = _rpc_result(body).result if binding is Binding.JSONRPC else _tasks(body)
    return [(each.id, each.context_id, each.status.state in ENDED) for each in found.tasks]


def _of_grpc(body: bytes) -> list[tuple[str, str, bool]]:
    found = []
    reader = MessageReader(limits.a2a_search_bytes_max, INVALID_AGENT_RESPONSE)
    for message in reader.feed(body):
        for field in wire.fields(message):
            if field.number == _TASKS:
                task = {each.number: each.value for each in wire.fields(field.value)}
                status = {each.number: each.value for each in wire.fields(task.get(_STATUS, b""))}
                state = wire.number_of(status.get(_STATE, b"\0"))
                texts = task.get(_ID, b"").decode(), task.get(_CONTEXT, b"").decode()
                found.append((*texts, state in ENDED_NUMBERS))
    return found
