"""A message to an MCP endpoint, and the question to the gate about it."""

from collections.abc import Sequence

import msgspec

from crewgate._native.json_rpc import JSONRPCMessage
from crewgate._native.permit import Permit
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import message_rules
from crewgate.core.mcp.arguments.argument_rules import ArgumentRules
from crewgate.core.mcp.methods import Action, Revision
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.mcp.refusals import MCPProblemFormat
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.reasons import Reason
from crewgate.core.sealed_ids import CallIds
from crewgate.gateway.call.response_rewriter import ResponseRewriter
from crewgate.gateway.mcp.endpoint import MCPEndpoint
from crewgate.gateway.mcp.responses import response_to
from crewgate.gateway.upstream_work.mcp_work import MCPWork
from crewgate.gateway.upstream_work.registry import WorkRegistry

_COMPARED = frozenset({Action.TOOL, Action.PROMPT})
_RESULT = "tasks/result"  # its response comes when the task has ended (2025-11-25, "Tasks")


class JudgedMessage(msgspec.Struct, frozen=True):
    """A message, and the question to the gate about it.

    Attributes:
        endpoint: The endpoint that the message came to.
        number: The tool's number for the gate.
        id: What the message uses, such as "files.delete"; the endpoint's name for a free method.
        names_part: Whether the gate compares `id` with the token, and not the name of the number.
        method: The method of the message, for the audit.
        price: Micro-credits; -1 for the fixed price of the tool.
        tariff: The tariff, if the price is not fixed.
        body: The bytes that go upstream.
        headers: The headers that go upstream beside the client's.
        problem_format: How problems of this message are written.
        revision: The revision of the message.
        action: What the method does; None for a method that passes without a check.
        ids: The ids of the server that the branch may use, for the response.
        also: Ids that the token must allow as well.
        message: The message as the server gets it; None for a request without a body.
        rules: The rules on the arguments of a tool; None if there are none.
        is_unread: Whether the result passes as it comes, and begins no work.
    """

    endpoint: MCPEndpoint
    number: int
    id: str
    names_part: bool
    method: str
    price: int
    tariff: Tariff | None
    body: bytes
    headers: Sequence[HeaderField]
    problem_format: MCPProblemFormat
    revision: Revision
    action: Action | None
    ids: CallIds
    also: tuple[str, ...] = ()
    message: JSONRPCMessage | None = None
    rules: ArgumentRules | None = None
    is_unread: bool = False

    @property
    def target(self) -> None:
        """None: the path at the server follows from that of the request."""

    @property
    def compared(self) -> bytes | None:
        """The arguments of a tool or prompt; None for all else, which clients may repeat."""
        if self.message is None or self.action not in _COMPARED:
            return None
        return self.message.arguments or b"{}"

    def budget_fields(self, _permit: Permit) -> Sequence[HeaderField]:
        """Return nothing: MCP has no field for the budget of a caller."""
        return ()

    def refused_arguments(self) -> str | None:
        """Return why the arguments are not allowed, for the model; None if they are allowed."""
        if self.rules is None or self.message is None:
            return None
        return self.rules.check(self.message.arguments)

    @property
    def stays_open(self) -> bool:
        """Whether the response waits for changes at the server for as long as its client likes."""
        is_stream = self.action is Action.STREAM or self.action is Action.LISTEN
        return is_stream or self.method == _RESULT

    @property
    def outlives_client(self) -> bool:
        """Whether the call goes on if its client disconnects.

        2025-11-25, "Transports": a client that disconnects does not cancel its request. The stream
        of a session is no request.
        """
        if self.revision is not Revision.LEGACY or self.message is None:
            return False
        return self.message.kind == "request"

    def pin_refusal(self, pins: WorkerPins) -> Reason | None:
        """Return why a call of a tool, or a list of tools, is refused; None if it is not."""
        if self.message is None:
            return None
        if self.action is Action.TOOL:
            return pins.refusal_of(self.endpoint.name, self.message.name)
        lists_tools = self.action is Action.DISCOVER or self.method == "tools/list"
        return pins.refusal_of(self.endpoint.name, None) if lists_tools else None

    def response(
        self, permit: Permit, registry: WorkRegistry, pins: WorkerPins, target: bytes
    ) -> ResponseRewriter | None:
        """Return what changes the response of the message; None if it passes as it comes.

        `registry` remembers the tasks and sessions that run on at the server; `target` is the path
        of the endpoint there.
        """
        if self.is_unread and permit.finding is None:
            return None
        known = dict(self.headers)
        work = MCPWork(
            registry,
            permit,
            self.endpoint.name,
            target,
            self.revision,
            session=known.get(message_rules.SESSION, b"").decode(),
            version=known.get(message_rules.VERSION),
        )
        return response_to(
            self.endpoint,
            permit,
            self.ids,
            work,
            pins,
            message=self.message,
            action=self.action,
            revision=self.revision,
        )

    def __repr__(self) -> str:
        return f"<JudgedMessage {self.method} {self.id}>"
