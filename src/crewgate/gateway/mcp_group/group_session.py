"""The legacy session of a client at a group: its sessions at the servers, in one sealed id."""

from collections.abc import Mapping, Sequence

import msgspec

from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import message_rules
from crewgate.core.sealed_ids import CallIds, IdKind
from crewgate.errors import UnusableResponseError
from crewgate.gateway.mcp.opened_ids import SESSION_GONE, opened_header


class MemberSession(msgspec.Struct, frozen=True, array_like=True):
    """A session at one server: its id there, empty if the server keeps none, and its version."""

    id: str
    version: str

    def __repr__(self) -> str:
        """Omit the id, with which the session can be used at the server."""
        return f"<MemberSession {self.version}>"


# By server.
GroupSession = Mapping[str, MemberSession]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, MemberSession]).decode


def sealed_session(session: GroupSession, ids: CallIds) -> list[HeaderField]:
    """Return the header with the id for the client; nothing if it needs none.

    Raises:
        UnusableResponseError: The ids of the servers are too long.
    """
    versions = {each.version for each in session.values()}
    if len(versions) == 1 and not any(each.id for each in session.values()):
        return []
    try:
        sealed = ids.seal(_encode(session).decode(), IdKind.MCP_GROUP_SESSION)
    except ValueError as error:
        raise UnusableResponseError(f"the ids of the sessions: {error}") from None
    return [(message_rules.SESSION, sealed.encode())]


def open_session(headers: Sequence[HeaderField], ids: CallIds) -> GroupSession | None:
    """Return the session of a request; None if there is none.

    Raises:
        RefusedMessageError: The branch has no such session at the group.
    """
    plain = opened_header(
        headers, message_rules.SESSION, IdKind.MCP_GROUP_SESSION, ids, SESSION_GONE
    )
    return None if plain is None else _decode(plain)
