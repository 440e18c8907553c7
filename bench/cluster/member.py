"""`python -m bench.cluster.member CONFIG HOST`: a member of the gossip without a gateway.

Real sockets, certificates and disk; asked on standard input and answered on standard output, a line
of JSON each. What it sends by datagram is counted where it is sent. The machine that obeys is one
that only counts, or one that enters what is revoked into a table as an agent does.
"""

import json
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from bench.cluster.machines import settings_of
from crewgate import limits
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.ca.member_signing_key import read_signing_key
from crewgate.config import Config, load
from crewgate.core.gossip.capsules import RevocationEntry
from crewgate.core.gossip.messages import MemberAddress
from crewgate.core.ids import cluster_id
from crewgate.gossip.member_verification import SignedMemberRecord
from crewgate.gossip.node import GossipNode, LocalMemberIdentity
from crewgate.gossip.sockets import GossipSockets, to_address
from crewgate.gossip.transport import GossipTransport, TLSFiles

DATAGRAM_BYTES = 28  # of each, its heads of IPv4 and UDP
CREW = bytes(16)
KEY_BYTES = 16
BRANCHES, RESERVATIONS, ATTACHMENTS = 1024, 1024, 16  # of a table that has only revocations
END = "-----END CERTIFICATE-----"


class Counting:
    """A machine that obeys by counting."""

    def __init__(self) -> None:
        self.applied = 0

    def apply(self, entries: Sequence[RevocationEntry], origins: Sequence[bytes]) -> None:  # noqa: ARG002
        """See `peers.host`."""
        self.applied += len(entries)

    def is_dead(self, _keys: Sequence[tuple[bytes, int]]) -> bool:
        """Nobody is."""
        return False

    def log(self, text: str) -> None:
        """To the log."""
        print(text, file=sys.stderr, flush=True)

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> int:
        """Whole seconds."""
        return int(time.time())


class Entering(Counting):
    """A machine with a table that has room for so many; SystemExit where it has not."""

    def __init__(self, folder: Path, room: int) -> None:
        super().__init__()
        geometry = TableCapacities(BRANCHES, room, RESERVATIONS, ATTACHMENTS)
        self._table = OwnedTable.create(str(folder / "bench-table"), geometry)

    def apply(self, entries: Sequence[RevocationEntry], origins: Sequence[bytes]) -> None:
        """As `agent.revocations.RevocationStore.apply_remote`, without shares of crews."""
        super().apply(entries, origins)
        wall, boot = self.wall(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for entry in entries:
            life = entry.expires - wall
            self._table.revoke(entry.key, entry.crew, entry.before, life, wall, boot)

    def is_dead(self, _keys: Sequence[tuple[bytes, int]]) -> bool:
        """By the table."""
        return any(self._table.is_revoked(key, at) for key, at in _keys)


class CountedSockets(GossipSockets):
    """Counts what is sent, heads included."""

    sent = 0
    sent_bytes = 0

    def send(self, to: MemberAddress, data: bytes) -> None:
        """One datagram."""
        self.sent += 1
        self.sent_bytes += len(data) + DATAGRAM_BYTES
        super().send(to, data)


def me_of(config: Config) -> LocalMemberIdentity:
    """Who a configured machine is among members."""
    settings = settings_of(config)
    texts = settings.certificate.read_text(encoding="ascii").split(END)[:-1]
    chain = tuple(ssl.PEM_cert_to_DER_cert(text.strip() + "\n" + END) for text in texts)
    address = to_address(settings.address, settings.port)
    if config.ca is None:
        raise SystemExit("bench: `crewgate init` no longer writes [ca]; mend member.py")
    return LocalMemberIdentity(
        SignedMemberRecord(chain, address.host, address.port),
        read_signing_key(settings.signing_key),
        config.ca.root,
        cluster_id(config.ca.trust_domain),
        config.state / "gossip",
    )


class Member:
    """One, from the time when it has restored what its disk held."""

    def __init__(self, config: Config, host: Counting) -> None:
        settings = settings_of(config)
        config.state.mkdir(mode=0o700, exist_ok=True)
        me = me_of(config)
        self.host = host
        self.sockets = CountedSockets(settings.address, settings.port)
        self.gossip = GossipNode(me, host, self.sockets.send)
        files = TLSFiles(settings.certificate, settings.key, me.root)
        self.service = GossipTransport(self.gossip, self.sockets, files, settings.peers)
        begun = time.monotonic()
        self.gossip.restore()
        self.restored_seconds = time.monotonic() - begun
        self._keys = 0

    async def run(self) -> None:
        """Serve until standard input ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.service.run)
            say(self.state())
            while line := await trio.to_thread.run_sync(sys.stdin.readline):
                say(await self._answer(json.loads(line)))
            nursery.cancel_scope.cancel()

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if "revoke" in question:
            await self._revoke(question["revoke"], question["seconds"])
        return self.state()

    async def _revoke(self, count: int, seconds: float) -> None:
        """So many, evenly over so long; those that are late are not left out."""
        begun = trio.current_time()
        for number in range(count):
            await trio.sleep_until(begun + number * seconds / count)
            self._keys += 1
            key = self.gossip.node.me + self._keys.to_bytes(KEY_BYTES // 2)
            self.gossip.revoke([entry(key, self.host.wall())])

    def state(self) -> dict[str, Any]:
        """What a parent is told of it."""
        node = self.gossip.node
        return {
            "capsules": len(node.archive),
            "others": len(node.freshness.others),
            "is_fresh": node.freshness.until(limits.staleness_seconds) > self.host.now(),
            "applied": self.host.applied,
            "datagrams": self.sockets.sent,
            "bytes": self.sockets.sent_bytes,
            "restored_seconds": self.restored_seconds,
        }


def entry(key: bytes, wall: int) -> RevocationEntry:
    """A branch that is revoked at that time."""
    return RevocationEntry(1, key, CREW, limits.time_seconds_max, wall + limits.revocation_seconds)


def say(state: dict[str, Any]) -> None:
    """One line."""
    print(json.dumps(state), flush=True)


def main(file: Path, host: str) -> None:
    """Serve one; `host` is "counting", or how many revocations its table has room for."""
    config = load(file)
    config.state.mkdir(mode=0o700, exist_ok=True)
    obeying = Counting() if host == "counting" else Entering(config.state, int(host))
    trio.run(Member(config, obeying).run)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
