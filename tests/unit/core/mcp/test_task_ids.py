"""A client sees sealed ids wherever MCP names a task, and only those open again."""

import json
from typing import Any

import pytest
from msgspec import structs

from crewgate import limits
from crewgate._native.json_rpc import read_message
from crewgate.core.mcp.rpc_errors import INVALID_PARAMS, RefusedMessageError
from crewgate.core.mcp.task_ids import TaskIdSealing, open_related_task, open_task
from crewgate.core.sealed_ids import CallIds, IdKind, IdOwner, IdSealer
from crewgate.errors import MalformedMessageError, UnusableResponseError

TASK = "786512e2-9e0d-44bd-8f29-789f320fe840"
RELATED = "io.modelcontextprotocol/related-task"
SEALER = IdSealer([bytes(32)])
OWNER = IdOwner("article", b"\x01" * 16, "files")


class Tasks:
    """An observer that notes what it hears."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float | str | None]] = []

    def task_runs(self, task: str, ttl_ms: float | None) -> None:
        self.seen.append((task, ttl_ms))

    def task_ended(self, task: str) -> None:
        self.seen.append((task, "ended"))


def ids() -> CallIds:
    return CallIds(SEALER, OWNER)


def sealed(task: str = TASK) -> str:
    return SEALER.seal(task, IdKind.MCP_TASK, OWNER)


def edited(message: dict[str, Any], method: str = "tools/call") -> tuple[Any, Tasks]:
    """A message of a server as the client gets it, and what was noted of its tasks."""
    tasks = Tasks()
    text = json.dumps({"jsonrpc": "2.0", **message}).encode()
    found = TaskIdSealing(ids(), read_message, tasks, method)(read_message(text))
    return (None if found is None else json.loads(found)), tasks


def result(members: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "result": members}


def meta(task: str) -> dict[str, Any]:
    return {"_meta": {RELATED: {"taskId": task}, "other": 1}}


@pytest.mark.parametrize(
    ("method", "message", "noted"),
    [
        (
            "tools/call",
            result({"resultType": "task", "taskId": TASK, "status": "working", "ttlMs": 6e4}),
            [(TASK, 60_000.0)],
        ),
        (
            "tools/call",
            result({"task": {"taskId": TASK, "status": "working", "ttl": None}, **meta(TASK)}),
            [(TASK, None)],
        ),
        (
            "tasks/get",
            result({"taskId": TASK, "status": "input_required", "ttl": 5}),
            [(TASK, 5.0)],
        ),
        (
            "tasks/get",
            result(
                {"taskId": TASK, "status": "completed", "result": {"content": [], **meta(TASK)}}
            ),
            [(TASK, "ended")],
        ),
        ("tasks/cancel", result({"taskId": TASK, "status": "cancelled"}), [(TASK, "ended")]),
        ("tasks/result", result({"content": [], **meta(TASK)}), [(TASK, "ended")]),
        ("tools/list", result({"tools": [], **meta(TASK)}), []),
        ("", result({"taskId": TASK, "status": "failed"}), [(TASK, "ended")]),
        (
            "subscriptions/listen",
            {
                "method": "notifications/tasks",
                "params": {"taskId": TASK, "status": "failed", "ttlMs": 1, "result": meta(TASK)},
            },
            [(TASK, "ended")],
        ),
        (
            "tools/call",
            {
                "method": "notifications/tasks/status",
                "params": {"taskId": TASK, "status": "working"},
            },
            [(TASK, None)],
        ),
        (
            "tools/call",
            {"method": "notifications/progress", "params": {"progress": 1, **meta(TASK)}},
            [],
        ),
        ("tools/call", {"id": 7, "method": "elicitation/create", "params": meta(TASK)}, []),
        (
            "subscriptions/listen",
            {
                "method": "notifications/subscriptions/acknowledged",
                "params": {"notifications": {"taskIds": [TASK], "toolsListChanged": True}},
            },
            [],
        ),
    ],
)
def test_each_id_of_a_task_is_sealed(
    method: str, message: dict[str, Any], noted: list[tuple[str, object]]
) -> None:
    """All else stays, and the state of the task is noted by the server's id."""
    found, tasks = edited(message, method)
    text = json.dumps({"jsonrpc": "2.0", **message})
    assert found == json.loads(text.replace(TASK, sealed()))
    assert TASK not in json.dumps(found)
    assert tasks.seen == noted


def test_an_escaped_name_is_the_same_name() -> None:
    """A server may escape what it likes; the client reads the same member."""
    text = rb'{"jsonrpc":"2.0","id":1,"result":{"task\u0049d":"%b","status":"working"}}'
    found = TaskIdSealing(ids(), read_message, Tasks(), "tools/call")(
        read_message(text % TASK.encode())
    )
    assert found is not None
    assert json.loads(found)["result"]["taskId"] == sealed()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("tools/call", result({"content": [{"type": "text", "text": f"taskId {TASK}"}]})),
        ("tools/call", result({"structuredContent": {"taskId": TASK}})),
        ("resources/read", result({"taskId": TASK})),
        ("tools/call", {"id": 7, "method": "tasks/get", "params": {"taskId": TASK}}),
        ("tools/call", {"id": 7, "method": "tasks/result", "params": meta(TASK)}),
        ("tools/call", {"id": 1, "error": {"code": 1, "message": "taskId", "data": meta(TASK)}}),
    ],
)
def test_all_else_stays_as_the_server_wrote_it(method: str, message: dict[str, Any]) -> None:
    """Results of tools keep their ids, and so do tasks of the client, for which a server asks."""
    found, tasks = edited(message, method)
    assert (found, tasks.seen) == (None, [])


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"taskId": 5, "status": "working"}, MalformedMessageError),
        ({"taskId": "", "status": "working"}, UnusableResponseError),
        ({"taskId": "x" * 1025, "status": "working"}, UnusableResponseError),
        ({"task": {"taskId": None}, "_meta": {RELATED: {"taskId": []}}}, MalformedMessageError),
    ],
)
def test_a_server_with_unusable_ids_is_refused(
    members: dict[str, Any], error: type[Exception]
) -> None:
    """The observer hears of no such task, which would take memory for as long as it runs."""
    tasks = Tasks()
    text = json.dumps({"jsonrpc": "2.0", **result(members)}).encode()
    with pytest.raises(error):
        TaskIdSealing(ids(), read_message, tasks, "tools/call")(read_message(text))
    assert not tasks.seen


def test_a_server_cannot_name_more_tasks_than_a_client_can_ask_for() -> None:
    """To seal 90,000 ids takes the worker most of a second."""
    many = [str(number) for number in range(limits.mcp_subscriptions_max + 1)]
    method = "notifications/subscriptions/acknowledged"
    for listed in (many[1:], many):
        message = {"method": method, "params": {"notifications": {"taskIds": listed}}}
        if listed is many:
            with pytest.raises(UnusableResponseError, match="257 taskIds"):
                edited(message)
        else:
            assert len(edited(message)[0]["params"]["notifications"]["taskIds"]) == 256


def test_a_client_gets_the_id_that_it_sent() -> None:
    """Even if another key seals by now: a client compares the two."""
    call = CallIds(IdSealer([b"n" * 32, bytes(32)]), OWNER)
    assert open_task(sealed(), call) == TASK
    text = json.dumps({"jsonrpc": "2.0", **result({"taskId": TASK, "status": "working"})})
    editor = TaskIdSealing(call, read_message, Tasks(), "tasks/get")
    found = editor(read_message(text.encode()))
    assert found is not None
    assert json.loads(found)["result"]["taskId"] == sealed()


@pytest.mark.parametrize("member", ["params", "result"])
def test_a_client_names_its_own_tasks_only(member: str) -> None:
    """In its answers to a server, too: the raw id of a task is no id for a client."""

    def read(task: object) -> Any:
        members: dict[str, Any] = {"_meta": {RELATED: {"taskId": task}}}
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, member: members}
        if member == "params":
            message["method"] = "tools/call"
        return read_message(json.dumps(message).encode())

    opened = open_related_task(read(sealed()), ids(), read_message)
    assert opened.text(member, "_meta", RELATED, "taskId") == TASK
    other = SEALER.seal(TASK, IdKind.MCP_TASK, structs.replace(OWNER, branch_key=b"\x02" * 16))
    for foreign in (TASK, other, ""):
        with pytest.raises(RefusedMessageError, match=r"^The task does not exist\.$") as refused:
            open_related_task(read(foreign), ids(), read_message)
        assert refused.value.error.code == INVALID_PARAMS
    with pytest.raises(MalformedMessageError):
        open_related_task(read(5), ids(), read_message)
    bare = read_message(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert open_related_task(bare, ids(), read_message) is bare


@pytest.mark.parametrize("spelling", ["task_id", "TaskID", "tas\\u006bId", "\u212a"])
def test_a_client_cannot_misspell_the_member(spelling: str) -> None:
    """A lenient server would find the id in it, and the gateway would not."""
    name = "tas\u212aId" if spelling == "\u212a" else spelling
    text = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"%s":{"%s":"%s"}}}}'
    body = (text % (RELATED, name, TASK)).encode()
    with pytest.raises((MalformedMessageError, RefusedMessageError)):
        open_related_task(read_message(body), ids(), read_message)
