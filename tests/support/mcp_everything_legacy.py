"""Parts of revision 2025-11-25 only: requests of the server to the client, log levels, watches.

The SDK serves these at the handshake of that revision; at 2026-07-28 it answers that there is no
such method.
"""

import asyncio
from typing import Any

import mcp_types as types
from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context

PAUSE_SECONDS = 0.05  # between two lines of the log; the suite asks for it
ONE_OF = [{"const": f"value{n}", "title": title} for n, title in ((1, "First"), (2, "Second"))]
DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {
        "type": "string",
        "enum": ["active", "inactive", "pending"],
        "default": "active",
    },
    "verified": {"type": "boolean", "default": True},
}
ENUMS = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {"type": "string", "oneOf": ONE_OF},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["One", "Two"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2"]}},
    "titledMulti": {"type": "array", "items": {"anyOf": ONE_OF}},
}


def add_legacy(server: MCPServer) -> None:
    """Give the server the tools and methods of this module."""
    _add_methods(server)
    _add_forms(server)

    @server.tool(structured_output=False)
    async def test_tool_with_logging(ctx: Context) -> str:
        """Log three lines."""
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(line)
            await asyncio.sleep(PAUSE_SECONDS)
        return "logged"

    @server.tool(structured_output=False)
    async def test_sampling(prompt: str, ctx: Context) -> str:
        """Pass a prompt to the client's language model."""
        message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
        result = await ctx.session.create_message(
            messages=[message], max_tokens=100, related_request_id=ctx.request_id
        )
        content = result.content
        return f"LLM response: {content.text if isinstance(content, types.TextContent) else ''}"

    @server.tool(structured_output=False)
    async def test_reconnection(ctx: Context) -> str:
        """Close the stream of this call, and answer on the stream that the client opens next."""
        await ctx.close_sse_stream()
        await asyncio.sleep(4 * PAUSE_SECONDS)
        return "Reconnection test completed"


def _add_forms(server: MCPServer) -> None:
    async def fill_in(ctx: Context, message: str, fields: dict[str, Any]) -> str:
        schema = {"type": "object", "properties": fields, "required": list(fields)}
        result = await ctx.session.elicit_form(message, schema, ctx.request_id)
        return f"action={result.action}, content={result.content}"

    @server.tool(structured_output=False)
    async def test_elicitation(message: str, ctx: Context) -> str:
        """Ask the user for a name and an address."""
        fields = {"username": {"type": "string"}, "email": {"type": "string"}}
        return f"User response: {await fill_in(ctx, message, fields)}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        """Ask the user with a form that has defaults."""
        found = await fill_in(ctx, "Please check the defaults", DEFAULTS)
        return f"Elicitation completed: {found}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        """Ask the user with a form of choices."""
        found = await fill_in(ctx, "Please choose", ENUMS)
        return f"Elicitation completed: {found}"


def _add_methods(server: MCPServer) -> None:
    """Set a level of the log, and watch a resource: the SDK has no decorator for these."""
    watched: set[str] = set()

    async def set_level(
        ctx: ServerRequestContext[Any, Any], params: types.SetLevelRequestParams
    ) -> types.EmptyResult:
        return types.EmptyResult()

    async def subscribe(
        ctx: ServerRequestContext[Any, Any], params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        watched.add(str(params.uri))
        return types.EmptyResult()

    async def unsubscribe(
        ctx: ServerRequestContext[Any, Any], params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        watched.discard(str(params.uri))
        return types.EmptyResult()

    add = server._lowlevel_server.add_request_handler
    add("logging/setLevel", types.SetLevelRequestParams, set_level)
    add("resources/subscribe", types.SubscribeRequestParams, subscribe)
    add("resources/unsubscribe", types.UnsubscribeRequestParams, unsubscribe)
