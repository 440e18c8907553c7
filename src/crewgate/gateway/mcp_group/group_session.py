"""The legacy session of a client at a group: its sessions at the servers, in one sealed id."""

from collections.abc import Mapping, Sequence

import msgspec

from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import message_rules
from crewgate.core.mcp.rpc_errors import INVALID_REQUEST, RefusedMessageError, RPCError
from crewgate.core.sealed_ids import CallIds, IdKind
from crewgate.errors import UnknownIdError, UnusableResponseError

# 2025-11-25, "Session management": clients then begin a new session.
SESSION_GONE = RPCError(INVALID_REQUEST, "The session does not exist. Initialize a new one.", 404)


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
    sealed = message_rules.single(headers, message_rules.SESSION)
    if sealed is None:
        return None
    try:
        return _decode(ids.open(sealed.decode("latin-1"), IdKind.MCP_GROUP_SESSION))
    except UnknownIdError:
        raise RefusedMessageError(SESSION_GONE) from None
