"""A server of the Model Context Protocol with one of everything: `mcp_everything.py PORT`.

It speaks the revisions 2026-07-28 and 2025-11-25 at /mcp, with the official SDK. It has the tools,
prompts and resources that the official conformance suite asks of a server, and a few that do real
work until they are cancelled. GET /observed lists each request that reached the server, and how the
work ended, and each task: a test asks there what a gateway let through, and what it cancelled.
"""

import asyncio
import base64
import struct
import sys
import zlib
from collections import deque
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, Message, UserMessage
from mcp.server.mcpserver.exceptions import ToolError
from mcp_everything_events import Events, SessionNotes
from mcp_everything_input import add_tools_that_ask
from mcp_everything_legacy import add_legacy
from mcp_everything_tasks import Tasks
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

OBSERVED_MAX = 10_000  # requests that /observed remembers
RETRY_MILLISECONDS = 100
PAUSE_SECONDS = 0.05  # between two notifications of a call; the suite asks for it


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# One red pixel, and a tenth of a second of silence.
PIXEL = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00"))
    + _chunk(b"IEND", b"")
)
SILENCE = (
    b"RIFF" + struct.pack("<I", 836) + b"WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    + b"data" + struct.pack("<I", 800) + b"\x80" * 800
)  # fmt: skip
IMAGE = types.ImageContent(data=base64.b64encode(PIXEL).decode(), mime_type="image/png")


class Observations:
    """The requests that reached the server, oldest first, as middleware sees them."""

    def __init__(self) -> None:
        self.requests: deque[dict[str, Any]] = deque(maxlen=OBSERVED_MAX)

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        params = ctx.params or {}
        target = params.get("name") or params.get("uri")
        entry = {"method": ctx.method, "target": target, "ended": None}
        self.requests.append(entry)
        try:
            result = await call_next(ctx)
        except asyncio.CancelledError:
            entry["ended"] = "cancelled"
            raise
        except BaseException:
            entry["ended"] = "failed"
            raise
        entry["ended"] = "answered"
        return result


observations, tasks = Observations(), Tasks()
server = MCPServer(
    "everything",
    version="1.0.0",
    log_level="ERROR",
    instructions="Tools of all kinds, for tests.",
    middleware=[observations],
    extensions=[tasks],
)
add_tools_that_ask(server)
add_legacy(server)


@server.custom_route("/observed", methods=["GET"])
async def observed(request: Request) -> Response:
    """The requests, oldest first, and the state of each task."""
    states = {task.id: task.status for task in tasks.tasks.values()}
    return JSONResponse({"requests": list(observations.requests), "tasks": states})


@server.tool(structured_output=False)
def test_simple_text() -> str:
    """Return a text."""
    return "This is a simple text response for testing."


@server.tool(structured_output=False)
def test_image_content() -> list[types.ImageContent]:
    """Return an image of one pixel."""
    return [IMAGE]


@server.tool(structured_output=False)
def test_audio_content() -> list[types.AudioContent]:
    """Return a moment of silence."""
    data = base64.b64encode(SILENCE).decode()
    return [types.AudioContent(data=data, mime_type="audio/wav")]


def _embedded(uri: str, mime_type: str, text: str) -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(resource=resource)


@server.tool(structured_output=False)
def test_embedded_resource() -> list[types.EmbeddedResource]:
    """Return a resource inside the result."""
    text = "This is an embedded resource content."
    return [_embedded("test://embedded-resource", "text/plain", text)]


@server.tool(structured_output=False)
def test_multiple_content_types() -> list[types.ContentBlock]:
    """Return a text, an image and a resource."""
    return [
        types.TextContent(text="Multiple content types test:"),
        IMAGE,
        _embedded(
            "test://mixed-content-resource", "application/json", '{"test":"data","value":123}'
        ),
    ]


@server.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    """Report progress three times."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100, f"{done} of 100")
        await asyncio.sleep(PAUSE_SECONDS)
    return "done"


@server.tool()
def test_error_handling() -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


@server.tool()
async def test_logging_tool(ctx: Context) -> str:
    """Log a line."""
    await ctx.info("One line of the log")
    return "logged"


@server.tool()
async def test_trigger_tool_change(ctx: Context) -> str:
    """Change the description of a tool, and notify the clients that listen."""
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "changed"


@server.tool()
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Notify the clients that listen of a change of the prompts."""
    await ctx.notify_prompts_changed()
    await ctx.session.send_prompt_list_changed()
    return "changed"


@server.tool()
async def hold(seconds: float, ctx: Context) -> str:
    """Work for some seconds, and report progress twenty times a second."""
    steps = int(seconds * 20)
    for step in range(steps):
        await ctx.report_progress(step, steps)
        await asyncio.sleep(PAUSE_SECONDS)
    return f"worked for {seconds} s"


@server.tool()
async def hold_in_silence(seconds: float) -> str:
    """Work for some seconds without a sign of life."""
    await asyncio.sleep(seconds)
    return f"worked for {seconds} s"


@server.tool()
def add(a: int, b: int) -> dict[str, int]:
    """Add two integers; the result is structured."""
    return {"sum": a + b}


@server.resource("test://static-text", description="A text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", description="An image", mime_type="image/png")
def static_binary() -> bytes:
    return PIXEL


@server.resource(
    "test://watched-resource", description="A text that changes", mime_type="text/plain"
)
def watched() -> str:
    return "Watched resource content"


@server.resource(
    "test://template/{id}/data", description="The data of an id", mime_type="application/json"
)
def template(id: str) -> dict[str, Any]:  # noqa: A002 - the suite names the variable
    return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}


@server.prompt()
def test_simple_prompt() -> list[Message]:
    """Return a message."""
    return [UserMessage("This is a simple prompt for testing.")]


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[Message]:
    """Return both arguments in a message."""
    return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:  # noqa: N803 - so the suite
    """Return a resource, and a request to read it."""
    text = "Embedded resource content for testing."
    return [
        UserMessage(_embedded(resourceUri, "text/plain", text)),
        UserMessage("Please process the embedded resource above."),
    ]


@server.prompt()
def test_prompt_with_image() -> list[Message]:
    """Return an image, and a request to look at it."""
    return [UserMessage(IMAGE), UserMessage("Please analyze the image above.")]


@server.completion()
async def complete(
    ref: types.PromptReference | types.ResourceTemplateReference,
    argument: types.CompletionArgument,
    context: types.CompletionContext | None,
) -> types.Completion:
    found = [word for word in ("paris", "park", "party") if word.startswith(argument.value)]
    return types.Completion(values=found, total=len(found), has_more=False)


# A schema with all that JSON Schema 2020-12 has and a careless gateway loses.
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


async def json_schema_2020_12_tool(name: str = "") -> str:
    """Have a schema of many keywords."""
    return name


def _with_schema() -> None:
    """Give the tool its schema: the SDK makes one of the arguments of the function."""
    server.add_tool(json_schema_2020_12_tool, structured_output=False)
    tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert tool is not None
    tool.parameters = SCHEMA


_with_schema()


def run(port: int) -> None:
    """Serve until the process ends."""
    app = server.streamable_http_app(event_store=Events(), retry_interval=RETRY_MILLISECONDS)
    uvicorn.run(SessionNotes(app), port=port, log_level="error")


if __name__ == "__main__":
    run(int(sys.argv[1]))
