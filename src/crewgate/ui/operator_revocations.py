"""Closes the connections of operators whose certificates are revoked, and refuses new ones.

A certificate is revoked in the table that the agent shares, or in the CRL. While the agent does not
confirm that the table is fresh, or other machines may know revocations that it lacks, no connection
with a certificate is admitted.
"""

import time
from collections.abc import Callable
from pathlib import Path

import trio
from cryptography import x509

from crewgate import limits
from crewgate._native.table import Table
from crewgate.audit.recorder import AuditRecorder
from crewgate.core.revocation_kinds import RevokedKeyLookup
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.readonly_table import open_table
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.server.connection_authorizer import ClosableConnection
from crewgate.server.peer_authorizer import disconnect_record
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.request import ClientInfo


class _AllRevoked:
    """Stands for a table that is not known."""

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:  # noqa: ARG002 - as the table
        """Return True."""
        return True


class OperatorRevocations:
    """The revocations that the connections of one listener obey; `folder` is the state folder.

    `is_needed` says whether the listener asks for certificates now.
    """

    def __init__(
        self,
        folder: Path,
        listener: str,
        connections: PeerConnections,
        sink: AuditRecorder,
        is_needed: Callable[[], bool],
    ) -> None:
        self._folder = folder
        self._listener = listener
        self._connections = connections
        self._sink = sink
        self._is_needed = is_needed
        self._table: Table | None = None

    def table(self) -> RevokedKeyLookup:
        """Return the table of now, which a `PeerAuthorizer` asks."""
        table = self._table
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if table is None or table.retired or boot_ns >= min(table.fresh_until, table.synced_until):
            return _AllRevoked()
        return table

    async def follow(self) -> None:
        """Look once a second, until cancelled."""
        try:
            while True:
                if self._is_needed():
                    await self._attach()
                if self._table is not None:
                    self._close(self._connections.revoked(self._table))
                for connection in self._connections.drain_expired(time.time()):
                    connection.abort()
                await sleep_until_tick(limits.ui_look_seconds)
        finally:
            self._detach()

    async def apply_crl(self, path: Path) -> None:
        """Close the connections whose certificates are in a CRL. Raises OSError, ValueError."""
        crl = x509.load_pem_x509_crl(await trio.Path(path).read_bytes())
        self._close(
            {
                connection: peer
                for connection, peer in self._connections.at(self._listener)
                if crl.get_revoked_certificate_by_serial_number(peer.serial) is not None
            }
        )

    async def _attach(self) -> None:
        """Get the table of now from the agent: a restarted one may have made another."""
        try:
            table = await trio.to_thread.run_sync(open_table, self._folder)
        except ServiceConnectionError:
            return  # the last one is used until it is not fresh
        self._detach()
        self._table = table

    def _detach(self) -> None:
        table, self._table = self._table, None
        if table is not None:
            table.close()

    def _close(self, found: dict[ClosableConnection, ClientInfo]) -> None:
        for connection, peer in found.items():
            self._connections.leave(connection)
            connection.abort()
            self._sink.write(disconnect_record(peer, time.time_ns()))
