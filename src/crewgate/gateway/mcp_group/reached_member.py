"""An endpoint of a group that a caller reaches, and the requests that it gets from there."""

from collections.abc import Sequence

import msgspec
from msgspec import structs

from crewgate._native.json_rpc import JSONRPCMessage
from crewgate._native.permit import Permit
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import message_rules
from crewgate.core.mcp.message_rules import LAST_EVENT, REPEATED, SESSION, VERSION
from crewgate.core.sealed_ids import CallIds, IdKind
from crewgate.gateway.call.undecided_call import UndecidedCall
from crewgate.gateway.mcp.endpoint import MCPEndpoint
from crewgate.gateway.mcp_group.group import GroupMember
from crewgate.gateway.mcp_group.group_session import MemberSession
from crewgate.server.request import Request


class ReachedMember(msgspec.Struct, frozen=True):
    """An endpoint that the caller reaches.

    `pending` is the client's request as one to this endpoint. `permit` is the evidence that the
    caller reaches it; it holds no credit.
    """

    member: GroupMember
    pending: UndecidedCall
    permit: Permit

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return self.member.name

    @property
    def endpoint(self) -> MCPEndpoint:
        """The endpoint."""
        return self.member.endpoint

    @property
    def ids(self) -> CallIds:
        """The ids of the server that the branch may use."""
        return self.endpoint.ids_of(self.permit.grant)

    def request(self, message: JSONRPCMessage | None, session: MemberSession | None) -> Request:
        """Return the request with a message for this endpoint, or with none, in its own session.

        Raises:
            RefusedMessageError: The client's request has a header twice.
        """
        client = self.pending.exchange.request
        version = message_rules.single(client.headers, VERSION)
        if session is not None:
            version = session.version.encode()
        kept = [field for field in client.headers if field[0] not in REPEATED]
        kept += self._repeated(client.headers, message, version)
        if session is not None and session.id:
            kept.append((SESSION, self.ids.seal(session.id, IdKind.MCP_SESSION).encode()))
        return structs.replace(client, headers=kept)

    def call(self, message: JSONRPCMessage | None, session: MemberSession | None) -> UndecidedCall:
        """Return the client's call as one of this endpoint."""
        return structs.replace(
            self.pending,
            rewritten=self.request(message, session),
            body=b"" if message is None else message.body,
            grant=self.permit.grant,
        )

    def _repeated(
        self,
        headers: Sequence[HeaderField],
        message: JSONRPCMessage | None,
        version: bytes | None,
    ) -> Sequence[HeaderField]:
        if message is not None:
            return message_rules.canonical_headers(message, version)
        last_event = message_rules.single(headers, LAST_EVENT)
        found = [] if version is None else [(VERSION, version)]
        return found if last_event is None else [*found, (LAST_EVENT, last_event)]
