"""Tools and a prompt that ask the client for more, in several rounds (revision 2026-07-28).

They keep no state: a client repeats its call with the answers, and with the state that the server
gave it. The SDK seals that state, and refuses one that a client changed.
"""

from typing import Annotated, Any

import mcp_types as types
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Message, UserMessage
from mcp.shared.exceptions import MCPError
from pydantic import Field

Reply = str | types.InputRequiredResult


def question(message: str, field: str, kind: str = "string") -> types.ElicitRequest:
    """A form with one field that the user must fill in."""
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message, requested_schema=schema)
    )


def _prompt(text: str, max_tokens: int) -> types.CreateMessageRequest:
    """A request to the client's language model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(text=text))
    params = types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    return types.CreateMessageRequest(params=params)


def _roots() -> types.ListRootsRequest:
    return types.ListRootsRequest(params=types.RequestParams())


def _ask(state: str | None = None, **requests: Any) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def _has(ctx: Context, *names: str) -> bool:
    """Return whether the client answered each of these questions."""
    return set(names) <= set(ctx.input_responses or {})


def answer(responses: types.InputResponses | None, name: str, field: str) -> Any:
    """One field of a form, if the user filled the form in; else None."""
    response = (responses or {}).get(name)
    if isinstance(response, types.ElicitResult) and response.action == "accept":
        return (response.content or {}).get(field)
    return None


def add_tools_that_ask(server: MCPServer) -> None:
    """Give the server all tools and the prompt of this module."""
    _add_single_rounds(server)
    _add_rounds_with_state(server)
    _add_capabilities(server)
    _add_header(server)

    @server.prompt()
    async def test_input_required_result_prompt(
        ctx: Context,
    ) -> list[Message] | types.InputRequiredResult:
        """Ask for a context, and return it in a message."""
        context = answer(ctx.input_responses, "user_context", "context")
        if context is None:
            return _ask(user_context=question("What context should the prompt use?", "context"))
        return [UserMessage(f"The context is: {context}")]


def _add_single_rounds(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    async def test_input_required_result_elicitation(ctx: Context) -> Reply:
        """Ask for a name, and greet."""
        name = answer(ctx.input_responses, "user_name", "name")
        if not isinstance(name, str):
            return _ask(user_name=question("What is your name?", "name"))
        return f"Hello, {name}!"

    @server.tool(structured_output=False)
    async def test_input_required_result_sampling(ctx: Context) -> Reply:
        """Ask the client's language model for a capital."""
        response = (ctx.input_responses or {}).get("capital_question")
        if not isinstance(response, types.CreateMessageResult):
            return _ask(capital_question=_prompt("What is the capital of France?", 100))
        content = response.content
        return content.text if isinstance(content, types.TextContent) else "The answer is no text."

    @server.tool(structured_output=False)
    async def test_input_required_result_list_roots(ctx: Context) -> Reply:
        """Ask for the client's folders."""
        response = (ctx.input_responses or {}).get("client_roots")
        if not isinstance(response, types.ListRootsResult):
            return _ask(client_roots=_roots())
        return "The roots are: " + ", ".join(str(root.uri) for root in response.roots)

    @server.tool(structured_output=False)
    async def test_streaming_elicitation(ctx: Context) -> Reply:
        """Report progress, then ask whether to go on."""
        await ctx.report_progress(1, 2)
        if answer(ctx.input_responses, "confirm", "ok") is None:
            return _ask(confirm=question("Go on?", "ok", "boolean"))
        return "went on"


def _add_rounds_with_state(server: MCPServer) -> None:
    async def confirm(ctx: Context) -> Reply:
        """Ask for a confirmation, and check the state that comes back with it."""
        if not _has(ctx, "confirm"):
            return _ask("round 1", confirm=question("Please confirm", "ok", "boolean"))
        if ctx.request_state != "round 1":
            raise MCPError(types.INVALID_PARAMS, "requestState is missing, or of another call")
        return "state-ok"

    for name in ("request_state", "tampered_state"):
        server.add_tool(confirm, name=f"test_input_required_result_{name}", structured_output=False)

    @server.tool(structured_output=False)
    async def test_input_required_result_multiple_inputs(ctx: Context) -> Reply:
        """Ask for a name, for a greeting and for the client's folders at once."""
        if not _has(ctx, "user_name", "greeting", "client_roots"):
            return _ask(
                "all three",
                user_name=question("What is your name?", "name"),
                greeting=_prompt("Generate a greeting", 50),
                client_roots=_roots(),
            )
        return f"All three answers of {answer(ctx.input_responses, 'user_name', 'name')} arrived."

    @server.tool(structured_output=False)
    async def test_input_required_result_multi_round(ctx: Context) -> Reply:
        """Ask for a name, then for a colour."""
        if ctx.request_state is None:
            return _ask("step 1", step1=question("Step 1: What is your name?", "name"))
        if ctx.request_state == "step 1":
            name = answer(ctx.input_responses, "step1", "name")
            asked = question("Step 2: What is your favorite color?", "color")
            return _ask(f"step 2 of {name}", step2=asked)
        name = ctx.request_state.removeprefix("step 2 of ")
        return f"{name} likes {answer(ctx.input_responses, 'step2', 'color')}."


def _add_capabilities(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    async def test_input_required_result_capabilities(ctx: Context) -> Reply:
        """Ask only what the client says that it can answer."""
        capabilities = ctx.client_capabilities or types.ClientCapabilities()
        asked: dict[str, Any] = {}
        if capabilities.sampling is not None and not _has(ctx, "greeting"):
            asked["greeting"] = _prompt("Generate a greeting", 50)
        if capabilities.elicitation is not None and not _has(ctx, "user_name"):
            asked["user_name"] = question("What is your name?", "name")
        return _ask(**asked) if asked else "The client answered all that it can."

    @server.tool(structured_output=False)
    async def test_missing_capability(ctx: Context) -> str:
        """Need a language model of the client, and refuse to work without."""
        needed = types.ClientCapabilities(sampling=types.SamplingCapability())
        if not ctx.session.check_client_capability(needed):
            data = types.MissingRequiredClientCapabilityErrorData(required_capabilities=needed)
            raise MCPError(
                types.MISSING_REQUIRED_CLIENT_CAPABILITY,
                "This tool needs the capability sampling",
                data.model_dump(by_alias=True, mode="json", exclude_none=True),
            )
        return "The client has a language model."


def _add_header(server: MCPServer) -> None:
    @server.tool()
    async def test_header_region(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
        text: str = "",
    ) -> str:
        """Return the region, which a client repeats in the field Mcp-Param-Region."""
        return f"{region}: {text}"
