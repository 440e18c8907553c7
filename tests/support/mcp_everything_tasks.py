"""Tasks of the everything-server: the extension io.modelcontextprotocol/tasks (SEP-2663).

A call of one of these tools returns a task at once, and the work goes on without a connection: what
a gateway must end too when it ends the branch that called. GET /observed lists all tasks.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import (
    Context,
    Extension,
    MethodBinding,
    ToolBinding,
    require_client_extension,
)
from mcp.shared.exceptions import MCPError
from mcp_everything_input import answer, question

EXTENSION = "io.modelcontextprotocol/tasks"
TASKS_MAX = 10_000
TTL_MS = 600_000
POLL_MS = 100
Arguments = Mapping[str, Any]


class TaskParams(types.RequestParams):
    """Parameters of `tasks/get` and `tasks/cancel`."""

    task_id: str


class UpdateParams(TaskParams):
    """Parameters of `tasks/update`."""

    input_responses: dict[str, Any]


class RunningTask:
    """One task: its state on the wire, and the work behind it."""

    def __init__(self, number: int) -> None:
        self.id = f"task-{number}"
        self.status = "working"
        self.outcome: dict[str, Any] = {}
        self.questions: dict[str, Any] = {}
        self.responses: dict[str, Any] = {}
        self.answered = asyncio.Event()
        self.created = self.updated = _now()
        self.work: asyncio.Task[None] | None = None

    def describe(self) -> dict[str, Any]:
        """The members that each message about a task has."""
        times = {"createdAt": self.created, "lastUpdatedAt": self.updated}
        limits = {"ttlMs": TTL_MS, "pollIntervalMs": POLL_MS}
        return {"taskId": self.id, "status": self.status} | times | limits

    def become(self, status: str, **outcome: Any) -> None:
        """Change the state."""
        self.status, self.outcome, self.updated = status, outcome, _now()

    async def ask(self, **questions: types.ElicitRequest) -> dict[str, Any]:
        """Wait until the client has answered all questions."""
        self.questions = {
            name: asked.model_dump(by_alias=True, mode="json", exclude_none=True)
            for name, asked in questions.items()
        }
        self.become("input_required")
        await self.answered.wait()
        self.become("working")
        return self.responses

    async def run(
        self, job: Callable[["RunningTask", Arguments], Awaitable[str]], given: Arguments
    ) -> None:
        """Do the work, and keep how it ended."""
        try:
            text = await job(self, given)
        except asyncio.CancelledError:
            self.become("cancelled")
        except ValueError as error:
            self.become("completed", result=_result(str(error), is_error=True))
        except RuntimeError as error:
            self.become("failed", error={"code": types.INTERNAL_ERROR, "message": str(error)})
        else:
            self.become("completed", result=_result(text))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _result(text: str, *, is_error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


async def _slow_compute(task: RunningTask, given: Arguments) -> str:
    await asyncio.sleep(given["seconds"])
    return f"computed {given.get('label', '')}"


async def _failing_job(task: RunningTask, given: Arguments) -> str:
    raise ValueError("The job failed")


async def _protocol_error_job(task: RunningTask, given: Arguments) -> str:
    raise RuntimeError("The server broke down")


async def _confirm_delete(task: RunningTask, given: Arguments) -> str:
    asked = question(f"Delete {given['filename']}?", "confirm", "boolean")
    responses = await task.ask(confirm=asked)
    return f"deleted: {responses['confirm'].get('action') == 'accept'}"


async def _multi_input(task: RunningTask, given: Arguments) -> str:
    responses = await task.ask(
        first=question("The first name?", "name"), second=question("The second name?", "name")
    )
    return f"{len(responses)} answers"


async def _greet_later(task: RunningTask, given: Arguments) -> str:
    return f"Hello, {given['user_name']}!"


# The work of each tool in a task; and the tools that a client without the extension cannot call.
JOBS = {
    "slow_compute": _slow_compute,
    "failing_job": _failing_job,
    "protocol_error_job": _protocol_error_job,
    "confirm_delete": _confirm_delete,
    "multi_input": _multi_input,
    "test_tool_with_task": _greet_later,
}
WITHOUT_TASK = {"slow_compute"}


async def greet(name: str) -> str:
    """Greet at once."""
    return f"Hello, {name}!"


async def slow_compute(seconds: float, label: str = "") -> str:
    """Work for some seconds."""
    await asyncio.sleep(seconds)
    return f"computed {label}"


async def failing_job() -> str:
    """Fail."""
    raise AssertionError("only a task runs this")


async def protocol_error_job() -> str:
    """Break down."""
    raise AssertionError("only a task runs this")


async def confirm_delete(filename: str) -> str:
    """Ask before a file is deleted."""
    raise AssertionError("only a task runs this")


async def multi_input() -> str:
    """Ask two questions at once."""
    raise AssertionError("only a task runs this")


async def test_tool_with_task(ctx: Context) -> types.InputRequiredResult:
    """Ask for a name before the task starts, and greet in the task."""
    asked = question("What is your name?", "name")
    return types.InputRequiredResult(input_requests={"user_name": asked})


class Tasks(Extension):
    """The extension: its tools, its methods and all tasks."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.tasks: dict[str, RunningTask] = {}
        self._numbers = itertools.count(1)

    def tools(self) -> Sequence[ToolBinding]:
        plain = (greet, slow_compute, failing_job, protocol_error_job, confirm_delete, multi_input)
        unstructured = {"structured_output": False}
        return [ToolBinding(each, kwargs=unstructured) for each in (*plain, test_tool_with_task)]

    def methods(self) -> Sequence[MethodBinding]:
        modern = frozenset({"2026-07-28"})
        return [
            MethodBinding("tasks/get", TaskParams, self._get, modern),
            MethodBinding("tasks/update", UpdateParams, self._update, modern),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, modern),
        ]

    async def intercept_tool_call(
        self,
        params: types.CallToolRequestParams,
        ctx: ServerRequestContext[Any, Any],
        call_next: CallNext,
    ) -> HandlerResult:
        job = JOBS.get(params.name)
        if job is None or (params.name in WITHOUT_TASK and not _speaks_tasks(ctx)):
            return await call_next(ctx)
        require_client_extension(ctx, EXTENSION)
        given = dict(params.arguments or {})
        if params.name == "test_tool_with_task":
            name = answer(params.input_responses, "user_name", "name")
            if name is None:
                return await call_next(ctx)
            given["user_name"] = name
        task = RunningTask(next(self._numbers))
        if len(self.tasks) == TASKS_MAX:
            self.tasks.pop(next(iter(self.tasks)))
        self.tasks[task.id] = task
        task.work = asyncio.create_task(task.run(job, given))
        return {"resultType": "task"} | task.describe()

    def _find(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> RunningTask:
        require_client_extension(ctx, EXTENSION)
        if params.task_id not in self.tasks:
            raise MCPError(types.INVALID_PARAMS, "There is no such task")
        return self.tasks[params.task_id]

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        task = self._find(ctx, params)
        asked = {"inputRequests": task.questions} if task.status == "input_required" else {}
        return {"resultType": "complete"} | task.describe() | asked | task.outcome

    async def _update(
        self, ctx: ServerRequestContext[Any, Any], params: UpdateParams
    ) -> HandlerResult:
        task = self._find(ctx, params)
        for name, response in params.input_responses.items():
            if task.questions.pop(name, None) is not None:
                task.responses[name] = response
        if task.responses and not task.questions:
            task.answered.set()
        return {"resultType": "complete"}

    async def _cancel(
        self, ctx: ServerRequestContext[Any, Any], params: TaskParams
    ) -> HandlerResult:
        task = self._find(ctx, params)
        if task.work is not None and not task.work.done():
            task.work.cancel()
            await asyncio.wait({task.work})
        return {"resultType": "complete"}


def _speaks_tasks(ctx: ServerRequestContext[Any, Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    return EXTENSION in ((capabilities.extensions if capabilities else None) or {})
