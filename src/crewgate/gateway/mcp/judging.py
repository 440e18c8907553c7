"""Reads an MCP message and finds what it uses: the tool that the gate judges, and its price.

The gateway judges the body. A header that repeats a part of it must agree. The gateway sends
upstream the bytes that it has judged, and headers that it writes from them.
"""

from collections.abc import Hashable, Sequence

from msgspec import structs

from crewgate import limits
from crewgate._native.fields import named
from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import message_rules, tool_ids
from crewgate.core.mcp.methods import METHODS, Action, Revision
from crewgate.core.mcp.refusals import MCPProblemFormat
from crewgate.core.mcp.rpc_errors import (
    RefusedMessageError,
    RPCError,
    bad_params,
    unknown_method,
)
from crewgate.core.sealed_ids import CallIds
from crewgate.errors import MalformedMessageError
from crewgate.gateway.endpoint import UnservedRequestError
from crewgate.gateway.mcp.endpoint import JudgedPart, MCPEndpoint
from crewgate.gateway.mcp.judged_message import JudgedMessage
from crewgate.gateway.mcp.opened_ids import (
    open_ids,
    open_last_event,
    open_session,
    open_session_of,
    subscribed_resources,
)
from crewgate.gateway.mcp.responses import is_unread

_FREE = 0  # micro-credits
_FIXED = -1  # the price of the tool

# The judgement of these depends on names and headers, and on sealed ids.
_KEPT = frozenset({"tools/call", "prompts/get"})
# The method in the audit, for requests without a message.
_STREAM, _END_SESSION = "GET", "DELETE"


class UnservedMessageError(UnservedRequestError):
    """The endpoint does not serve a message."""

    def __init__(self, error: RPCError, form: MCPProblemFormat) -> None:
        super().__init__(error.message, form.error(error))


def judge(
    endpoint: MCPEndpoint,
    headers: Sequence[HeaderField],
    body: bytes,
    ids: CallIds,
    scope: Hashable,
) -> JudgedMessage:
    """Return what a POST uses; `ids` are those of the caller's branch.

    A judgement is kept for branches that may use the same, their `scope`. A kept one takes less
    time, which would tell other branches that a tool of this name is in use.

    Raises:
        UnservedMessageError: The body is not one message, or breaks a rule of its revision.
    """
    form = endpoint.problem_format
    try:
        message = read_message(body)
        key = _key(message, headers, scope)
        known = None if key is None else endpoint.judged.get(key)
        if isinstance(known, JudgedMessage):  # its message has no id to open
            form = structs.replace(known.problem_format, message_id=message.id)
            return structs.replace(known, body=body, problem_format=form, ids=ids, message=message)
        is_tool_call = message.method == "tools/call"
        form = structs.replace(form, message_id=message.id, is_tool_call=is_tool_call)
        version = message_rules.single(headers, message_rules.VERSION)
        revision = message_rules.revision_of(message, version)
        form = structs.replace(form, revision=revision)
        judged = _judge(endpoint, headers, message, form, ids)
    except RefusedMessageError as error:
        raise UnservedMessageError(error.error, form) from None
    except MalformedMessageError as error:
        form = structs.replace(form, message_id=error.id)
        raise UnservedMessageError(RPCError(error.code, str(error)), form) from None
    if key is not None:
        endpoint.keep(key, structs.replace(judged, body=b"", message=None))
    return judged


def _key(message: JSONRPCMessage, headers: Sequence[HeaderField], scope: Hashable) -> Hashable:
    """Return all that the judgement of a message depends on, and the scope.

    None if it is not worth keeping: agents use few tools, many times. None too for a message with a
    sealed id, which the server's id must replace.
    """
    if message.method not in _KEPT or message.related_task is not None:
        return None
    repeated = named(headers, message_rules.REPEATED, limits.mcp_kept_value_bytes_max)
    if repeated is None or len(repeated) > len(message_rules.REPEATED):
        return None
    if message.protocol_version is None and message_rules.SESSION in dict(repeated):
        return None
    capabilities = message.capabilities or b""
    if len(capabilities) > limits.mcp_kept_value_bytes_max:
        return None
    return (
        scope,
        message.method,
        message.kind,
        message.name,
        message.protocol_version,
        capabilities,
        repeated,
    )


def judge_bodyless(
    endpoint: MCPEndpoint, method: bytes, headers: Sequence[HeaderField], ids: CallIds
) -> JudgedMessage:
    """Return what a GET (the stream of a legacy session) or a DELETE (its end) uses.

    Raises:
        UnservedMessageError: The session or the event is not one of the caller's branch.
    """
    form = structs.replace(endpoint.problem_format, revision=Revision.LEGACY)
    is_stream = method == b"GET"
    try:
        session = open_session(headers, ids)
        version = message_rules.legacy_version(headers)
        last_event = open_last_event(headers, ids) if is_stream else []
    except RefusedMessageError as error:
        raise UnservedMessageError(error.error, form) from None
    return JudgedMessage(
        endpoint,
        endpoint.number,
        endpoint.name,
        names_part=False,
        method=_STREAM if is_stream else _END_SESSION,
        price=_FREE,
        tariff=None,
        body=b"",
        headers=[(b"x-crewgate-tool", endpoint.name.encode()), *session, *version, *last_event],
        problem_format=form,
        revision=Revision.LEGACY,
        action=Action.STREAM if is_stream else Action.FREE,
        ids=ids,
    )


def _judge(
    endpoint: MCPEndpoint,
    headers: Sequence[HeaderField],
    message: JSONRPCMessage,
    form: MCPProblemFormat,
    ids: CallIds,
) -> JudgedMessage:
    version = message_rules.single(headers, message_rules.VERSION)
    revision = message_rules.revision_of(message, version)
    message_rules.check(message, headers, revision, is_lenient=endpoint.config.lenient_discover)
    if not endpoint.serves(revision):
        raise message_rules.not_served(endpoint.config.served)
    part = _part(endpoint, message, revision)
    method = METHODS.get(message.method)
    session = open_session_of(message, revision, headers, ids)
    message = open_ids(message, ids)
    is_free = part.id == endpoint.name or (method is not None and method.action in _UNPRICED)
    return JudgedMessage(
        endpoint,
        part.number,
        part.id,
        names_part=part.number == endpoint.number and part.id != endpoint.name,
        method=message.method or message.kind,
        price=_FREE if is_free else _FIXED,
        tariff=None if is_free else part.tariff,
        body=message.body,
        headers=[
            (b"x-crewgate-tool", message_rules.encoded(part.id)),
            *message_rules.canonical_headers(message, version),
            *session,
        ],
        problem_format=structs.replace(form, scope=tool_ids.scope_of(part.id, endpoint.name)),
        revision=revision,
        action=None if method is None else method.action,
        ids=ids,
        also=() if method is None else _also(endpoint, message, method.action),
        message=message,
        rules=part.rules if method is not None and method.action is Action.TOOL else None,
        is_unread=method is not None and is_unread(message, method.action, revision),
    )


_UNPRICED = frozenset({Action.COMPLETE, Action.SUBSCRIBE, Action.LISTEN, Action.TASK})


def _part(endpoint: MCPEndpoint, message: JSONRPCMessage, revision: Revision) -> JudgedPart:
    """Return what a message uses: a tool, a prompt, a resource, or only the endpoint itself.

    Raises:
        RefusedMessageError: The method is not served, or names nothing that can be judged.
    """
    itself = JudgedPart(endpoint.number, endpoint.name, None)
    if message.kind == "response":
        return itself
    method = METHODS.get(message.method)
    if method is None or revision not in method.revisions:
        if message.method in endpoint.config.unchecked_methods:
            return itself
        raise unknown_method(message.method)
    if method.is_notification != (message.kind == "notification"):
        raise bad_params(f"{message.method} is no {message.kind}.")
    if method.action is Action.COMPLETE:
        return _completed(endpoint, message)
    named = message_rules.named(message) or ""
    find = _FINDERS.get(method.action)
    return itself if find is None else find(endpoint, named)


def _tool(endpoint: MCPEndpoint, name: str) -> JudgedPart:
    if not tool_ids.is_tool(name):
        raise bad_params("params.name is not the name of a tool.")
    return endpoint.tool(name)


def _prompt(endpoint: MCPEndpoint, name: str) -> JudgedPart:
    if not tool_ids.is_prompt(name):
        raise bad_params("The name of the prompt is empty, too long or not printable.")
    return endpoint.prompt(name)


def _resource(endpoint: MCPEndpoint, uri: str) -> JudgedPart:
    try:
        return endpoint.resource(uri)
    except ValueError as error:
        raise bad_params(f"The URI of the resource: {error}") from None


_FINDERS = {
    Action.TOOL: _tool,
    Action.PROMPT: _prompt,
    Action.RESOURCE: _resource,
    Action.SUBSCRIBE: _resource,
}


def _completed(endpoint: MCPEndpoint, message: JSONRPCMessage) -> JudgedPart:
    """Return the prompt or the resource for whose argument a client wants completions."""
    kind = message.text("params", "ref", "type")
    if kind == "ref/prompt":
        return _prompt(endpoint, message.text("params", "ref", "name") or "")
    template = message.text("params", "ref", "uri")
    if kind != "ref/resource" or not template:
        raise bad_params("params.ref names neither a prompt nor a resource.")
    classes = sorted(endpoint.classes.classes_of_template(template))
    return endpoint.resources(classes[0]) if classes else _resource(endpoint, template)


def _also(endpoint: MCPEndpoint, message: JSONRPCMessage, action: Action) -> tuple[str, ...]:
    """Return the ids of all that a message uses, if it can use several parts."""
    if action is Action.LISTEN:
        return tuple(_resource(endpoint, uri).id for uri in subscribed_resources(message))
    if action is Action.COMPLETE:
        # Completions of a template can show URIs of each of its classes.
        template = message.text("params", "ref", "uri") or ""
        classes = endpoint.classes.classes_of_template(template)
        return tuple(endpoint.resources(each).id for each in sorted(classes)) if template else ()
    return ()
