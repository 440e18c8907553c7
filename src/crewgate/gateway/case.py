"""A request that may be judged, with what its listener says of it, and how it is dressed to go on.

Judges nothing: what was read of the request's head is kept here until there is a verdict.
"""

from typing import NamedTuple

import msgspec

from crewgate.core import record as audit
from crewgate.gateway.site import Entry, Site
from crewgate.server import Exchange, Field
from crewgate.upstream import Head, written

UNKNOWN = -1  # no tool, for the gate


class Door(msgspec.Struct, frozen=True):
    """What a listener says of the requests that come through it."""

    name: str
    observe: bool = False
    hosts: frozenset[bytes] = frozenset()

    def serves(self, authority: bytes) -> bool:
        """Return whether an authority is one of `hosts`, which name a port or any."""
        if not self.hosts:
            return True
        authority = authority.lower()
        host, colon, port = authority.rpartition(b":")
        return authority in self.hosts or (bool(colon) and port.isdigit() and host in self.hosts)


class Case(NamedTuple):
    """A request that may be judged.

    `fields` are the client's that go upstream, None if one passes itself off as the gateway's: that
    is told to holders of a good token only, since other paths do not look at fields.
    """

    exchange: Exchange
    site: Site
    entry: Entry | None
    token: bytes
    fields: list[Field] | None
    described: audit.Request

    def __repr__(self) -> str:
        return f"<Case {self.exchange!r}>"

    @property
    def tool(self) -> int:
        """The tool's number for the gate."""
        return UNKNOWN if self.entry is None or self.fields is None else self.entry.index

    def head(self, entry: Entry, fields: list[Field], identity: bytes) -> Head:
        """Dress the request for its tool: the client's fields, who is calling, what for."""
        request = self.exchange.request
        lines = b"%b%b%bx-crewgate-request: %b\r\n" % (
            written(fields),
            identity,
            entry.lines,
            audit.request_text(self.described.id).encode(),
        )
        return Head(request.method, request.target, request.length, lines)
