"""Reads an A2A request and finds what it uses: the method that the gate judges, and its price.

The gateway sends upstream what it has judged: the same body with the agent's own ids, and a query
and header fields that it writes anew.
"""

import secrets
from collections.abc import Collection, Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import structs

from crewgate import limits
from crewgate._native.json_rpc import JSONRPCMessage, check_json, read_message
from crewgate._native.permit import Permit
from crewgate.core.a2a import (
    budget_extension,
    grpc_messages,
    http_json_paths,
    json_messages,
    message_fields,
    methods,
    protobuf_messages,
    query_parameters,
    service_parameters,
)
from crewgate.core.a2a.agent_card import CardView
from crewgate.core.a2a.client_ids import RequestTexts, ResponseTexts
from crewgate.core.a2a.compared_parts import compared_parts
from crewgate.core.a2a.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    PUSH_NOT_SUPPORTED,
    UNSUPPORTED_OPERATION,
    A2AError,
)
from crewgate.core.a2a.http_json_paths import HTTPJSONTarget
from crewgate.core.a2a.message_fields import Field, Fields
from crewgate.core.a2a.methods import Action, Binding, Method, Version
from crewgate.core.a2a.query_parameters import Parameters
from crewgate.core.a2a.refusals import A2AProblemFormat
from crewgate.core.body_encoding import encoding_problem
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.sealed_ids import CallIds
from crewgate.core.tokens.grant import Grant
from crewgate.errors import MalformedMessageError
from crewgate.gateway.a2a.endpoint import A2AEndpoint, JudgedMethod
from crewgate.gateway.a2a.responses import A2AEndpointResponse
from crewgate.gateway.endpoint import PathRewriter, UnservedRequestError
from crewgate.gateway.upstream_work.a2a_work import A2AWork, AgentInterface
from crewgate.gateway.upstream_work.registry import WorkRegistry
from crewgate.server.request import Request

_ERRORS = {-32700: PARSE_ERROR, -32600: INVALID_REQUEST, -32602: INVALID_PARAMS}
_CARD = "agent-card"  # in the audit, for the request of a card
# A card has no version of its own: one table shows both.
_CARD_FIELDS = Fields({}, card=Version.V1_0)
_CARD_HTTP_METHODS = frozenset({b"GET", b"HEAD"})

# Another type could have the server take the same bytes for another message.
_JSON_TYPES = frozenset({b"application/json", b"application/a2a+json"})
_GRPC_TYPES = frozenset({b"application/grpc", b"application/grpc+proto"})


class JudgedA2ARequest(msgspec.Struct, frozen=True):
    """A request, and the question to the gate about it; a `JudgedRequest`.

    `ids` are those that the branch may use, `contexts` those that the request names, and `fields`
    says where they stand in the response. `interface` is the path at the agent before those of the
    binding. `called` is None for a request of the card.
    """

    endpoint: A2AEndpoint
    used: JudgedMethod
    called: Method | None
    version: Version
    body: bytes
    target: bytes | None
    headers: Sequence[HeaderField]
    problem_format: A2AProblemFormat
    ids: CallIds
    fields: Fields
    view: CardView
    contexts: Collection[str] = ()
    tenant: str = ""
    interface: bytes = b""
    tariff: None = None
    also: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The number of the tool for the gate."""
        return self.used.number

    @property
    def id(self) -> str:
        """The method that the request uses, such as "research.SendMessage"."""
        return self.used.id

    @property
    def names_part(self) -> bool:
        """Whether the gate compares `id` with the token, and not the name of the number."""
        return self.used.names_part

    @property
    def price(self) -> int:
        """Micro-credits; -1 for the fixed price of the tool."""
        return self.used.price

    @property
    def method(self) -> str:
        """The method, for the audit."""
        return _CARD if self.called is None else self.called.name

    @property
    def compared(self) -> bytes | None:
        """The parts of a message that is sent; None for all else, which clients may repeat."""
        is_sent = self.called is not None and self.called.action is Action.SEND
        return compared_parts(self.body) if is_sent else None

    @property
    def stays_open(self) -> bool:
        """Whether the response waits for changes at the server for as long as its client likes."""
        called = self.called
        return called is not None and called.is_stream and called.action is not Action.SEND

    @property
    def outlives_client(self) -> bool:
        """Whether the call goes on if its client disconnects.

        The agent goes on with a task whose client has left. Its answer shows which task that is.
        """
        called = self.called
        return called is not None and called.action is Action.SEND and not called.is_stream

    def refused_arguments(self) -> None:
        """Return None: there are no rules on the arguments of agents."""

    def pin_refusal(self, _pins: WorkerPins) -> None:
        """Return None: the methods of agents are always the same."""

    def budget_fields(self, permit: Permit) -> Sequence[HeaderField]:
        """Return the fields that say to the agent what the branch may still spend."""
        if not self.endpoint.config.budget_extension:
            return ()
        return budget_extension.request_fields(permit.branch_unspent_micro)

    def response(
        self, permit: Permit, registry: WorkRegistry, _pins: WorkerPins, _target: bytes
    ) -> A2AEndpointResponse:
        """Return what changes the response; `registry` remembers the tasks that run on."""
        endpoint, binding = self.endpoint, self.problem_format.binding
        name = endpoint.server_name(binding)
        interface = AgentInterface(name, self.interface, binding, self.version, self.tenant)
        work = A2AWork(registry, permit, interface)
        is_sent = self.called is not None and self.called.action is Action.SEND
        if is_sent and self.version is Version.V1_0:  # version 0.3 has no list of tasks
            for context in self.contexts:
                work.message_goes(context)
        texts = ResponseTexts(
            self.ids, self.view, contexts=self.contexts, sign=endpoint.sign, observer=work
        )
        return A2AEndpointResponse(
            binding,
            self.fields,
            texts,
            work,
            permit,
            shows_budget=endpoint.config.aauth_budget,
        )

    def __repr__(self) -> str:
        return f"<JudgedA2ARequest {self.method} {self.id}>"


class _Opened(NamedTuple):
    """A request with the ids of the agent: its method, and the parts that go upstream."""

    method: Method
    version: Version
    body: bytes
    path: bytes
    query: str


def judge(
    endpoint: A2AEndpoint, request: Request, body: bytes, grant: Grant, path_of: PathRewriter
) -> JudgedA2ARequest:
    """Return what a request of the branch of `grant` uses.

    Raises:
        UnservedRequestError: The request breaks a rule of the protocol, or names what does not
            exist for the branch.
    """
    form, ids = endpoint.problem_format_of(request), endpoint.ids_of(grant)
    texts = RequestTexts(
        ids,
        tenants=endpoint.config.tenants,
        push_origins=endpoint.push_origins,
        context=_new_context(endpoint),
    )
    try:
        names_card = request.path.decode() in endpoint.config.card_paths
        if names_card and request.method in _CARD_HTTP_METHODS:
            return _card(endpoint, request, ids, form, path_of)
        _check_encoding(request, form.binding, body)
        query = query_parameters.parse(request.query.decode())
        if form.binding is Binding.JSONRPC:
            message = read_message(body, is_mcp=False)
            form = structs.replace(form, message_id=bytes(message.id))
            opened = _open_rpc(message, request, query, texts)
        elif form.binding is Binding.GRPC:
            opened = _open_grpc(request, body, texts)
        else:
            opened = _open_http_json(endpoint, request, query, body, texts)
        return _judged(endpoint, request, query, opened, texts, form, path_of, ids)
    except MalformedMessageError as error:
        form = structs.replace(form, message_id=error.id)
        kind = _ERRORS.get(error.code, INVALID_REQUEST)
        raise _unserved(A2AError(kind, str(error)), form) from None
    except A2AError as error:
        raise _unserved(error, form) from None


def _check_encoding(request: Request, binding: Binding, body: bytes) -> None:
    types = _GRPC_TYPES if binding is Binding.GRPC else _JSON_TYPES
    why = encoding_problem(request.headers, types) if body else ""
    if why:
        raise A2AError(INVALID_REQUEST, why)


def _judged(
    endpoint: A2AEndpoint,
    request: Request,
    query: Parameters,
    opened: _Opened,
    texts: RequestTexts,
    form: A2AProblemFormat,
    path_of: PathRewriter,
    ids: CallIds,
) -> JudgedA2ARequest:
    config, method, version = endpoint.config, opened.method, opened.version
    requested = service_parameters.requested_version(request.headers, query, config.served)
    service_parameters.check_agreement(requested, version, config.served)
    if method.action is Action.PUSH and not config.push_origins:
        raise A2AError(PUSH_NOT_SUPPORTED)
    if method.action is Action.LIST and not texts.contexts and not config.list_all_contexts:
        raise A2AError(UNSUPPORTED_OPERATION, "name the contextId of the tasks")
    extensions = service_parameters.requested_extensions(request.headers)
    if config.budget_extension:
        extensions = (*(uri for uri in extensions if uri != budget_extension.URI),
                      budget_extension.URI)  # fmt: skip
    used = endpoint.method(method)
    return JudgedA2ARequest(
        endpoint,
        used,
        method,
        version,
        opened.body,
        _target(path_of(opened.path), opened.query),
        [
            endpoint.tool_field(used),
            *service_parameters.canonical_headers(requested, version, extensions),
        ],
        structs.replace(form, scope=used.id),
        ids,
        message_fields.of_response(method, version),
        endpoint.card_view(request, version),
        contexts=frozenset(texts.contexts),
        tenant=texts.tenant,
        interface=_interface(endpoint, form.binding, path_of),
    )


def _interface(endpoint: A2AEndpoint, binding: Binding, path_of: PathRewriter) -> bytes:
    """Return the path at the agent before those of a binding."""
    path = endpoint.config.path.encode()
    if binding is Binding.HTTP_JSON:
        return path_of(path + b"/").removesuffix(b"/")
    return path_of(path) if binding is Binding.JSONRPC else b""


def _card(
    endpoint: A2AEndpoint,
    request: Request,
    ids: CallIds,
    form: A2AProblemFormat,
    path_of: PathRewriter,
) -> JudgedA2ARequest:
    """Return the request of the card, which every caller of the endpoint may read."""
    used = endpoint.itself()
    asked = service_parameters.version_of_card(request.headers, endpoint.config.served)
    return JudgedA2ARequest(
        endpoint,
        used,
        None,
        Version.V1_0,
        b"",
        path_of(request.path),
        [
            endpoint.tool_field(used),
            *service_parameters.canonical_headers(asked, Version.V1_0, ()),
        ],
        form,
        ids,
        _CARD_FIELDS,
        endpoint.card_view(request, asked),
    )


def _open_rpc(
    message: JSONRPCMessage, request: Request, query: Parameters, texts: RequestTexts
) -> _Opened:
    if message.kind != "request":
        raise A2AError(INVALID_REQUEST, "the message is no request")
    found = methods.of_json_rpc(message.method)
    if found is None:
        raise A2AError(METHOD_NOT_FOUND, message.method[: limits.a2a_text_chars_max])
    if not all(service_parameters.is_version(name) for name, _ in query):
        raise A2AError(INVALID_REQUEST, "the query of the URL has more than the version of A2A")
    fields = message_fields.of_request(*found)
    body = json_messages.rewrite(message.body, Fields({"params": Field(0, fields)}), texts)
    return _Opened(*found, body, request.path, "")


def _open_http_json(
    endpoint: A2AEndpoint, request: Request, query: Parameters, body: bytes, texts: RequestTexts
) -> _Opened:
    path = request.path.decode()
    target = http_json_paths.find(request.method.decode(), path[len(endpoint.config.path) :])
    if target is None:
        raise A2AError(METHOD_NOT_FOUND, f"{request.method.decode()} of this path")
    fields = message_fields.of_request(target.method, target.version)
    if target.tenant:
        texts.name_tenant(target.tenant)
    rest = _open_path(target, texts)
    has_body = request.method == b"POST"
    if not has_body:
        body = b""  # an agent could read the members of the request in it
    elif body.strip():
        check_json(body)
        body = json_messages.rewrite(body, fields, texts)
    in_path = fields.folded if has_body else _in_path(target)
    return _Opened(
        target.method,
        target.version,
        body,
        (endpoint.config.path + rest).encode(),
        _query(query, fields, texts, in_path),
    )


def _open_path(target: HTTPJSONTarget, texts: RequestTexts) -> str:
    """Return the path with the agent's id of the task."""
    if not target.task_id:
        return target.path_with("")
    return target.path_with(quote(texts.task_of_path(target.task_id), safe=""))


def _in_path(target: HTTPJSONTarget) -> set[str]:
    """Return the members that the path of a request without a body names already."""
    return {"id", "taskId", "name", "parent", "tenant"} if target.task_id else {"tenant"}


def _open_grpc(request: Request, body: bytes, texts: RequestTexts) -> _Opened:
    found = methods.of_grpc_path(request.path.decode())
    if found is None:
        raise A2AError(METHOD_NOT_FOUND)
    message = grpc_messages.single(body, limits.priced_body_bytes_max)
    rewritten = protobuf_messages.rewrite(message, message_fields.of_request(*found), texts)
    return _Opened(*found, grpc_messages.framed(rewritten), request.path, "")


def _query(query: Parameters, fields: Fields, texts: RequestTexts, in_path: Collection[str]) -> str:
    kept = [pair for pair in query if not service_parameters.is_version(pair[0])]
    return query_parameters.rewrite(kept, fields, texts, in_path)


def _target(path: bytes, query: str) -> bytes:
    return b"%b?%b" % (path, query.encode()) if query else path


def _new_context(endpoint: A2AEndpoint) -> str:
    if not endpoint.config.assign_contexts:
        return ""
    return secrets.token_urlsafe(limits.a2a_context_bytes)


def _unserved(error: A2AError, form: A2AProblemFormat) -> UnservedRequestError:
    return UnservedRequestError(str(error), form.error(error))
