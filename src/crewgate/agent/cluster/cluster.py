"""This machine among the others: what is revoked here they hear of, and what they revoke is obeyed.

Is the host that gossip asks, and the others whom the agent tells. Wires; decides who is told what,
and until when this machine may believe that it knows enough.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from crewgate import limits
from crewgate.agent.anomaly import remote_quarantines
from crewgate.agent.budget.ledger_mark import MarkKeeper
from crewgate.agent.cluster import cluster_status
from crewgate.agent.cluster.membership_log import Attendance
from crewgate.agent.cluster.peer_lists import PeerLists
from crewgate.agent.revocation.entries import Entry
from crewgate.agent.revocation.fanout import SeenTarget
from crewgate.agent.revocation.remote_audit import Foreign
from crewgate.agent.revocation.seen_names import is_known
from crewgate.agent.state import Machine
from crewgate.ca.gateway_signing_key import read_signing_key
from crewgate.ca.key_files import read_certificates
from crewgate.config import CA, Config
from crewgate.config import Cluster as Settings
from crewgate.core.budget.ledger_protocol import Close
from crewgate.core.gossip import capsules
from crewgate.core.gossip.acknowledgements import Receipt
from crewgate.core.ids import Kind, cluster_id, crew_key
from crewgate.core.tokens.claims import is_text
from crewgate.core.x509.identity import MAY_REVOKE
from crewgate.errors import AuthorityError, ConfigurationError, GossipError
from crewgate.gossip.member_certificates import Credential
from crewgate.gossip.node import Gossip, Me
from crewgate.gossip.sockets import Sockets, to_address
from crewgate.gossip.stream import AskSeen
from crewgate.gossip.transport import Files, Service
from crewgate.ipc.cluster_messages import ClusterStatus, InTouch

_Known = dict[bytes, tuple[int, int]]  # by key: until when tokens are dead, and for how long


class Cluster:
    """The gossip of one machine. ConfigurationError for what of [cluster] cannot be used.

    `bootstrap` is an operator's word that there is nothing to catch up; a machine that never had a
    peer needs none: neither its disk nor its table knows of one.
    """

    def __init__(self, machine: Machine, settings: Settings, ca: CA, *, bootstrap: bool) -> None:
        config = machine.inforce.config
        folder = config.state / "gossip"
        had_others = 0 < machine.table.synced_until < limits.always_ns
        is_alone = not (settings.peers or had_others or (folder / "standing").exists())
        self._machine = machine
        self._settings = settings
        # Until when the agent before could say that this table has what a majority knew.
        self._before_ns = machine.table.synced_until if had_others else 0
        self._lacks = ""  # what it takes to obey all that others have revoked
        self._foreign = Foreign(machine.registry, self.name)
        self._restored: _Known | None = {}  # what we have revoked, while the disk is read in
        me = Me(
            _credential(settings),
            read_signing_key(settings.signing_key),
            ca.root,
            cluster_id(ca.trust_domain),
            folder,
        )
        self._sockets = _sockets(config, settings)
        try:
            self.gossip = Gossip(
                me,
                self,
                self._sockets.send,
                any_other=settings.staleness_quorum == "any",
                bootstrap=bootstrap or is_alone,
            )
        except (GossipError, OSError) as error:
            self._sockets.close()
            raise ConfigurationError(f"{config.path}: [cluster]: {error}") from error
        self._lists = PeerLists(lambda: machine.inforce.config, self.wall, self.now, self.name)
        self.gossip.lists = self._lists
        self.gossip.on_question = self._was_seen
        known = self.gossip.company.me.name
        if config.name not in {"", known}:
            self._sockets.close()
            raise ConfigurationError(
                f"{config.path}: [cluster] certificate is of machine {known}, and name is "
                f'"{config.name}": make both the same'
            )
        self._attendance = Attendance(self.gossip)
        self._hurry()
        files = Files(settings.certificate, settings.key, ca.root)
        self.service = Service(self.gossip, self._sockets, files, settings.peers)

    def __repr__(self) -> str:
        return f"<Cluster {self.gossip!r}>"

    def restore(self) -> None:
        """Take up what others revoked, and tell them of what this machine alone knows. OSError."""
        own = [_told(entry) for entry in self._machine.revocations if entry.kind]
        self._restored = known = {entry.key: (0, 0) for entry in own}
        self.gossip.restore()
        self._attendance.begin()
        self._restored = None
        entries = [entry for entry in own if not _knows(known, entry)]
        if entries:
            try:
                self.gossip.revoke(entries)
            except ValueError as error:
                self.say(f"{len(entries)} revocations are in force here alone: {error}")

    def keep_mark(self, keeper: MarkKeeper) -> None:
        """Have the others keep how far the ledger is, and hear what they have kept."""
        marks = self.gossip.marks
        marks.tell(keeper.mark)
        keeper.on_written = marks.tell
        self.gossip.on_mark = keeper.hear

    def load(self, settings: Settings) -> None:
        """A configuration that was changed while we serve."""
        self._settings = settings
        self.service.peers = settings.peers
        self.gossip.node.freshness.any_other = settings.staleness_quorum == "any"
        self._hurry()
        try:
            self.gossip.renew(_credential(settings))
        except (GossipError, AuthorityError, OSError) as error:
            self.say(f"the certificate before stays among peers: {error}")

    def _hurry(self) -> None:
        """Compare often enough for how stale this machine may be."""
        seconds = min(limits.compare_seconds, self.staleness / limits.compare_times)
        self.gossip.node.comparing.seconds = seconds

    # What the agent asks of the others.

    def tell(self, entries: Sequence[Entry]) -> Receipt | None:
        """See `telling.Others`."""
        try:
            ids = self.gossip.revoke([_told(entry) for entry in entries])
            return self.gossip.node.receipts.begin(ids, self.now())
        except ValueError as error:
            self.say(f"a revocation is in force here, and nobody waits for the others: {error}")
            return None

    def pass_on(self, entries: Sequence[capsules.Entry]) -> None:
        """See `telling.Others`. Of one without the right to begin it nobody would take it."""
        if self.gossip.company.may_revoke:
            self.gossip.revoke(entries)
        else:
            self.say(
                "a quarantine is said here alone: this machine's certificate lacks the right "
                f"{MAY_REVOKE!r}; issue it anew with --right {MAY_REVOKE}"
            )

    async def wait(self, receipt: Receipt, is_enough: Callable[[Receipt], bool]) -> None:
        """See `telling.Others`."""
        await self.service.wait(receipt, is_enough)

    def end(self, receipt: Receipt) -> None:
        """See `telling.Others`."""
        self.gossip.node.receipts.end(receipt)

    def name(self, member: bytes) -> str:
        """See `telling.Others`."""
        return self.gossip.company.directory.name(member)

    @property
    def staleness(self) -> float:
        """Seconds that a comparison counts for."""
        return self._settings.max_staleness_seconds

    def synced_until_ns(self) -> int:
        """Never while our clock is far from the others', or what they say finds no room here.

        Nor once they have sent this machine away, though of a pair each goes on alone.
        """
        node = self.gossip.node
        ahead = abs(node.comparing.ahead)
        if self._lacks or self.gossip.company.is_outcast or ahead > limits.skew_max:
            return 0
        until = node.freshness.until(self.staleness)
        if math.isinf(until):
            return limits.always_ns if until > 0 else self._before_ns
        return max(self._before_ns, round(until * 1e9))

    def in_touch(self) -> InTouch:
        """See `telling.Others`."""
        until_ns, unreached = self.synced_until_ns(), self.service.unreached
        return cluster_status.in_touch(self.gossip, self.staleness, until_ns, unreached)

    def trouble(self) -> str:
        """See `telling.Others`."""
        is_whole = not self.gossip.log.incomplete
        lacking = "" if is_whole else "not all that members revoke is there"
        return self.gossip.disk.why or lacking

    def bad_lists(self) -> str:
        """See `telling.Others`."""
        return self._lists.trouble()

    def waiting_for(self) -> str:
        """See `telling.Others`."""
        return cluster_status.waiting_for(self.gossip, self.in_touch(), self.staleness, self._lacks)

    async def ask_seen(self, target: SeenTarget, name: str, crew: str) -> list[bool]:
        """See `telling.Others`."""
        return await self.service.ask(AskSeen(target, name, crew))

    def look(self) -> None:
        """See `telling.Others`."""
        self._attendance.look(self.now())
        self._machine.record(self._foreign.rest(self._machine.clock.wall_ns()))

    def status(self, number: int) -> ClusterStatus:
        """The answer to question `number` of the owner."""
        touch, lacks = self.in_touch(), self.waiting_for()
        return cluster_status.cluster_status(self.gossip, number, touch, lacks, self.staleness)

    # What gossip asks of the machine.

    async def _was_seen(self, ask: AskSeen) -> bool | None:
        """Answer a member; None where that cannot be said. GossipError for what is no name."""
        if not is_text(ask.name):
            raise GossipError("a question about what no token says")
        try:
            return await is_known(self._machine, ask.target, ask.name, ask.crew)
        except ValueError as error:
            raise GossipError(f"a question about what is no name: {error}") from error

    def apply(self, entries: Sequence[capsules.Entry], origins: Sequence[bytes]) -> None:
        """Enter, cut and close what others have revoked, and write down who did.

        What one member says must not end the agents of all, at each start anew: whoever cannot do
        it admits nothing, and says why.
        """
        try:
            self._apply(entries, origins)
        except Exception as error:  # noqa: BLE001 - the barrier
            self._lack(cluster_status.FAULT, f"a fault of ours with what others revoke: {error!r}")

    def _lack(self, what: str, why: str) -> None:
        if not self._lacks:
            self._lacks = what
            self.say(f"{why}; admitting nothing: it takes {what}")

    def _apply(self, entries: Sequence[capsules.Entry], origins: Sequence[bytes]) -> None:
        machine = self._machine
        is_news = self._restored is None
        crews = machine.inforce.policy.crews
        clocks = machine.believed()
        for entry, origin in zip(entries, origins, strict=True):
            if entry.kind in remote_quarantines.KINDS:
                who = f"gateway/{self.name(origin)}"
                machine.watching.abroad.hear(entry, who, clocks.wall, is_news=is_news)
        keys, has_room = machine.revocations.obey(entries, crews, clocks, is_news=is_news)
        if not has_room:
            self._lack(cluster_status.ROOM, "not all that others revoke is in force")
        if keys and is_news:
            machine.telling.cut_soon(keys)
        self._close(entries)  # also once more: the ledger may not have heard of the last ones
        if self._restored is not None:
            for entry in entries:
                if entry.key in self._restored:
                    before, expires = self._restored[entry.key]
                    most = max(before, entry.before), max(expires, entry.expires)
                    self._restored[entry.key] = most
            return
        named, wall_ns = machine.revocations.by_key(crews), machine.clock.wall_ns()
        machine.record(self._foreign.records(entries, origins, named, wall_ns))

    def _close(self, entries: Iterable[capsules.Entry]) -> None:
        """In the ledger, which remembers for longer; leases of what is below come back.

        A crew's account is no branch, whoever says so: it would be closed for ever.
        """
        crews = self._machine.revocations.by_key(self._machine.inforce.policy.crews)
        for entry in entries:
            if entry.kind == Kind.BRANCH and entry.key not in crews:
                self._machine.lessor.close(entry.key)
            elif entry.kind == Kind.KEY:
                self._machine.clerk.tell(Close(entry.key))

    def is_dead(self, keys: Sequence[tuple[bytes, int]]) -> bool:
        """By the table, which has what others revoked too."""
        return any(self._machine.table.is_revoked(key, at) for key, at in keys)

    def say(self, text: str) -> None:
        """One sentence for a person."""
        self._machine.say(text)

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return self._machine.clock.boot_ns() / 1e9

    def wall(self) -> int:
        """Whole seconds, of a clock that does not jump: nothing expires because somebody set it."""
        return self._machine.believed().wall


def _knows(known: _Known, entry: capsules.Entry) -> bool:
    """Whether as much is dead by what others were told, and for as long."""
    before, expires = known[entry.key]
    return entry.before <= before and entry.expires <= expires


def _told(entry: Entry) -> capsules.Entry:
    """As others are told of it: names stay here."""
    key, crew = bytes.fromhex(entry.key), crew_key(entry.crew)
    return capsules.Entry(entry.kind, key, crew, entry.before, entry.expires)


def _credential(settings: Settings) -> Credential:
    """What peers are shown; AuthorityError."""
    place = settings.reached_at
    address = to_address(place.host, place.port)
    chain = read_certificates(settings.certificate)
    return Credential(tuple(map(_der, chain)), address.host, address.port)


def _der(certificate: Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _sockets(config: Config, settings: Settings) -> Sockets:
    try:
        return Sockets(settings.address, settings.port)
    except OSError as error:
        raise ConfigurationError(
            f"{config.path}: [cluster]: cannot listen at {settings.address}:{settings.port}: "
            f"{error.strerror}; another process may have the port"
        ) from error
