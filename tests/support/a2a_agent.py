"""An A2A agent with the official SDK: `a2a_agent.py HTTP_PORT GRPC_PORT`.

It speaks versions 1.0 and 0.3 by JSON-RPC at /rpc, by HTTP+JSON below /rest, and by gRPC. The text
of a message says what it does:

    reply       answers with a message, and makes no task
    work        works on a task until somebody cancels it
    parts N     adds N parts to an artifact of its task, and completes it
    input       asks for input
    all else    completes a task with the text as its artifact

It ends when its standard input does. GET /observed lists the requests that reached it, and the
tasks that somebody cancelled. If the environment has TCK_STREAMING_TIMEOUT, the agent is one for
the official compatibility kit, which sends no version: each request is then one of 1.0, and each
task works for a while.
"""

import asyncio
import os
import sys
from collections import deque
from typing import Any

import grpc
import uvicorn
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.helpers.proto_helpers import new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.server.routes import (
    create_agent_card_routes,
    create_jsonrpc_routes,
    create_rest_routes,
)
from a2a.server.tasks import (
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Role,
    Task,
    TaskState,
    TaskStatus,
    a2a_pb2_grpc,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

OBSERVED_MAX = 10_000
WORK_SECONDS_MAX = 60.0  # a task that no client cancels ends all the same
TCK_PREFIX = "test-resubscribe-message-id"
TCK_SECONDS = 2 * float(os.environ.get("TCK_STREAMING_TIMEOUT", "0"))
VERSION = b"a2a-version"


class Observations:
    """The requests that reached the agent, oldest first; middleware of ASGI."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.requests: deque[dict[str, Any]] = deque(maxlen=OBSERVED_MAX)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] != "/observed":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            path = scope["path"] + "?" + scope["query_string"].decode()
            self.requests.append({"method": scope["method"], "path": path, "headers": headers})
            if TCK_SECONDS and not headers.get("a2a-version"):
                scope["headers"] = [
                    *(each for each in scope["headers"] if each[0] != VERSION),
                    (VERSION, b"1.0"),
                ]
        await self.app(scope, receive, send)


class Executor(AgentExecutor):
    """Does what the text of a message says."""

    def __init__(self) -> None:
        self.cancelled: deque[str] = deque(maxlen=OBSERVED_MAX)
        self.working: dict[str, asyncio.Event] = {}

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        message = context.message
        assert message is not None
        assert context.task_id is not None
        assert context.context_id is not None
        if text == "reply":
            await event_queue.enqueue_event(
                new_text_message(text, context_id=context.context_id, role=Role.ROLE_AGENT)
            )
            return
        if context.current_task is None:
            submitted = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(
                Task(id=context.task_id, context_id=context.context_id, status=submitted,
                     history=[message])
            )  # fmt: skip
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work(updater.new_agent_message([new_text_part("working")]))
        if TCK_SECONDS:
            is_long = message.message_id.startswith(TCK_PREFIX)
            await asyncio.sleep(TCK_SECONDS if is_long else TCK_SECONDS / 2)
        word, _, count = text.partition(" ")
        if word == "work":
            await self._work(context.task_id)
            return
        if word == "input" or TCK_SECONDS:
            await updater.requires_input()
            return
        parts = int(count) if word == "parts" else 1
        for at in range(parts):
            await updater.add_artifact(
                [new_text_part(text if parts == 1 else f"part {at}")],
                artifact_id="answer",
                append=at > 0,
                last_chunk=at == parts - 1,
            )
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.task_id is not None
        assert context.context_id is not None
        self.cancelled.append(context.task_id)
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()
        self.working.pop(context.task_id, asyncio.Event()).set()

    async def _work(self, task: str) -> None:
        ended = self.working[task] = asyncio.Event()
        async with asyncio.timeout(WORK_SECONDS_MAX):
            await ended.wait()


def card(http_port: int, grpc_port: int) -> AgentCard:
    """The card of the agent, with its own addresses."""
    base = f"http://127.0.0.1:{http_port}"
    interfaces = {
        "JSONRPC": f"{base}/rpc",
        "HTTP+JSON": f"{base}/rest",
        "GRPC": f"127.0.0.1:{grpc_port}",
    }
    skill = AgentSkill(id="echo", name="Echo", description="Does what it is told.", tags=["test"])
    return AgentCard(
        name="Test agent",
        description="An agent for tests.",
        version="1.0.0",
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version=version)
            for version in ("1.0", "0.3")
            for binding, url in interfaces.items()
        ],
        capabilities=AgentCapabilities(
            streaming=True, push_notifications=True, extended_agent_card=True
        ),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[skill],
    )


async def serve(http_port: int, grpc_port: int) -> None:
    """Serve until the standard input ends, also because the parent has."""
    executor, own = Executor(), card(http_port, grpc_port)
    handler = DefaultRequestHandler(
        agent_executor=executor,
        task_store=InMemoryTaskStore(),
        agent_card=own,
        push_config_store=InMemoryPushNotificationConfigStore(),
        extended_agent_card=own,
    )

    async def observed(_: Request) -> Response:
        found = {"requests": [*middleware.requests], "cancelled": [*executor.cancelled]}
        return JSONResponse({**found, "working": [*executor.working]})

    middleware = Observations(
        Starlette(
            routes=[
                Route("/observed", observed),
                *create_agent_card_routes(own),
                *create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=True),
                *create_rest_routes(handler, enable_v0_3_compat=True, path_prefix="/rest"),
            ]
        )
    )
    rpc = grpc.aio.server()
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), rpc)
    a2a_v0_3_pb2_grpc.add_A2AServiceServicer_to_server(CompatGrpcHandler(handler), rpc)
    rpc.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await rpc.start()
    config = uvicorn.Config(
        middleware, host="127.0.0.1", port=http_port, log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)

    def end() -> None:
        server.should_exit = server.force_exit = True

    asyncio.get_running_loop().add_reader(sys.stdin, end)
    try:
        await server.serve()
    finally:
        await rpc.stop(None)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
