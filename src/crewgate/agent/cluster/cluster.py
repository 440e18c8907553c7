"""This machine among the others: what is revoked here they hear of, and what they revoke is obeyed.

Is the host that gossip asks, and the others whom the agent tells. Wires; decides who is told what,
and until when this machine may believe that it knows enough.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from crewgate import limits
from crewgate.agent.anomaly import remote_quarantines
from crewgate.agent.budget.ledger_mark_keeper import LedgerMarkKeeper
from crewgate.agent.cluster import cluster_status
from crewgate.agent.cluster.crl_exchange import ClusterCRLExchange
from crewgate.agent.cluster.membership_log import MembershipLog
from crewgate.agent.revocation.remote_audit import RemoteRevocationAudit
from crewgate.agent.revocation.seen_names import is_known
from crewgate.agent.revocation.types import StoredRevocation
from crewgate.agent.state import AgentState
from crewgate.ca.gossip_signing_key import read_signing_key
from crewgate.ca.key_files import read_certificates
from crewgate.config import CAConfig, Config
from crewgate.config import ClusterConfig as Settings
from crewgate.core.gossip import capsules
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.ids import cluster_id, crew_key
from crewgate.core.revocation_kinds import BY_CLAIM_LABEL, RevocationTarget
from crewgate.core.tokens.claims import is_text
from crewgate.core.x509.identity_extension import MAY_REVOKE
from crewgate.errors import AuthorityError, ConfigurationError, GossipError
from crewgate.gossip.member_certificates import SignedMemberRecord
from crewgate.gossip.node import GossipNode, LocalMember
from crewgate.gossip.sockets import GossipSockets, to_address
from crewgate.gossip.stream import RevocationTargetQuery
from crewgate.gossip.transport import GossipTransport, TLSFiles
from crewgate.ipc.cluster_messages import ClusterStatus, QuorumSyncState

_log = logging.getLogger(__name__)
_Known = dict[bytes, tuple[int, int]]  # by key: until when tokens are dead, and for how long


class Cluster:
    """The gossip of one machine. ConfigurationError for what of [cluster] cannot be used.

    `bootstrap` is an operator's word that there is nothing to catch up; a machine that never had a
    peer needs none: neither its disk nor its table knows of one.
    """

    def __init__(
        self, agent: AgentState, settings: Settings, ca: CAConfig, *, bootstrap: bool
    ) -> None:
        config = agent.active_config.config
        folder = config.state / "gossip"
        had_others = 0 < agent.table.synced_until < limits.always_ns
        is_alone = not (settings.peers or had_others or (folder / "standing").exists())
        self._machine = agent
        self._settings = settings
        # Until when the agent before could say that this table has what a majority knew.
        self._before_ns = agent.table.synced_until if had_others else 0
        self._lacks = ""  # what it takes to obey all that others have revoked
        self._remote_audit = RemoteRevocationAudit(agent.registry, self.name)
        self._restored: _Known | None = {}  # what we have revoked, while the disk is read in
        me = LocalMember(
            _credential(settings),
            read_signing_key(settings.signing_key),
            ca.root,
            cluster_id(ca.trust_domain),
            folder,
        )
        self._sockets = _sockets(config, settings)
        try:
            self.gossip = GossipNode(
                me,
                self,
                self._sockets.send,
                any_other=settings.staleness_quorum == "any",
                bootstrap=bootstrap or is_alone,
            )
        except (GossipError, OSError) as error:
            self._sockets.close()
            raise ConfigurationError(f"{config.path}: [cluster]: {error}") from error
        self._crls = ClusterCRLExchange(
            lambda: agent.active_config.config, self.wall, self.now, self.name
        )
        self.gossip.crls = self._crls
        self.gossip.on_question = self._was_seen
        known = self.gossip.company.me.name
        if config.name not in {"", known}:
            self._sockets.close()
            raise ConfigurationError(
                f"{config.path}: [cluster] certificate is of machine {known}, and name is "
                f'"{config.name}": make both the same'
            )
        self._membership_log = MembershipLog(self.gossip)
        self._hurry()
        files = TLSFiles(settings.certificate, settings.key, ca.root)
        self.service = GossipTransport(self.gossip, self._sockets, files, settings.peers)

    def restore(self) -> None:
        """Take up what others revoked, and tell them of what this machine alone knows. OSError."""
        own = [_to_gossip(entry) for entry in self._machine.revocations if entry.kind]
        self._restored = known = {entry.key: (0, 0) for entry in own}
        self.gossip.restore()
        self._membership_log.begin()
        self._restored = None
        entries = [entry for entry in own if not _knows(known, entry)]
        if entries:
            try:
                self.gossip.revoke(entries)
            except ValueError as error:
                _log.warning("%d revocations are in force here alone: %s", len(entries), error)

    def keep_mark(self, keeper: LedgerMarkKeeper) -> None:
        """Have the others keep how far the ledger is, and hear what they have kept."""
        marks = self.gossip.ledger_marks
        marks.update(keeper.mark)
        keeper.on_written = marks.update
        self.gossip.on_mark = keeper.check_peer_mark

    def load(self, settings: Settings) -> None:
        """A configuration that was changed while we serve."""
        self._settings = settings
        self.service.peers = settings.peers
        self.gossip.node.freshness.any_other = settings.staleness_quorum == "any"
        self._hurry()
        try:
            self.gossip.renew(_credential(settings))
        except (GossipError, AuthorityError, OSError) as error:
            _log.warning("the certificate before stays among peers: %s", error)

    def _hurry(self) -> None:
        """Compare often enough for how stale this machine may be."""
        seconds = min(limits.compare_seconds, self.staleness / limits.compare_times)
        self.gossip.node.anti_entropy.seconds = seconds

    # What the agent asks of the others.

    def announce(self, entries: Sequence[StoredRevocation]) -> AckState | None:
        """See `fanout.ClusterPeers`."""
        try:
            ids = self.gossip.revoke([_to_gossip(entry) for entry in entries])
            return self.gossip.node.receipts.begin(ids, self.now())
        except ValueError as error:
            _log.warning(
                "a revocation is in force here, and nobody waits for the others: %s", error
            )
            return None

    def pass_on(self, entries: Sequence[capsules.RevocationEntry]) -> None:
        """See `fanout.ClusterPeers`. Of one without the right to begin it nobody would take it."""
        if self.gossip.company.may_revoke:
            self.gossip.revoke(entries)
        else:
            _log.warning(
                "a quarantine is said here alone: this machine's certificate lacks the right %r; "
                "issue it anew with --right %s",
                MAY_REVOKE,
                MAY_REVOKE,
            )

    async def wait(self, receipt: AckState, is_enough: Callable[[AckState], bool]) -> None:
        """See `fanout.ClusterPeers`."""
        await self.service.wait(receipt, is_enough)

    def end(self, receipt: AckState) -> None:
        """See `fanout.ClusterPeers`."""
        self.gossip.node.receipts.end(receipt)

    def name(self, member: bytes) -> str:
        """See `fanout.ClusterPeers`."""
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
        ahead = abs(node.anti_entropy.clock_offset)
        if self._lacks or self.gossip.company.is_evicted or ahead > limits.skew_max:
            return 0
        until = node.freshness.until(self.staleness)
        if math.isinf(until):
            return limits.always_ns if until > 0 else self._before_ns
        return max(self._before_ns, round(until * 1e9))

    def in_touch(self) -> QuorumSyncState:
        """See `fanout.ClusterPeers`."""
        until_ns, unreached = self.synced_until_ns(), self.service.unreached
        return cluster_status.in_touch(self.gossip, self.staleness, until_ns, unreached)

    def incomplete_reason(self) -> str:
        """See `fanout.ClusterPeers`."""
        is_whole = not self.gossip.log.incomplete
        lacking = "" if is_whole else "not all that members revoke is there"
        return self.gossip.disk.why or lacking

    def invalid_crls(self) -> str:
        """See `fanout.ClusterPeers`."""
        return self._crls.invalid()

    def waiting_for(self) -> str:
        """See `fanout.ClusterPeers`."""
        return cluster_status.waiting_for(self.gossip, self.in_touch(), self.staleness, self._lacks)

    async def ask_seen(self, target: RevocationTarget) -> list[bool]:
        """See `fanout.ClusterPeers`."""
        return await self.service.ask(
            RevocationTargetQuery(target.rules.label, target.name, target.crew)
        )

    def record_pending(self) -> None:
        """See `fanout.ClusterPeers`."""
        self._membership_log.log_changes(self.now())
        self._machine.record(self._remote_audit.rest(self._machine.clock.wall_ns()))

    def status(self, number: int) -> ClusterStatus:
        """The answer to question `number` of the owner."""
        touch, lacks = self.in_touch(), self.waiting_for()
        return cluster_status.cluster_status(self.gossip, number, touch, lacks, self.staleness)

    # What gossip asks of the machine.

    async def _was_seen(self, ask: RevocationTargetQuery) -> bool | None:
        """Answer a member; None where that cannot be said. GossipError for what is no name."""
        rules = BY_CLAIM_LABEL.get(ask.target)
        if rules is None or not is_text(ask.name):
            raise GossipError("a question about what no token says")
        try:
            target = RevocationTarget(rules.kind, ask.name, ask.crew)
            return await is_known(self._machine, target)
        except ValueError as error:
            raise GossipError(f"a question about what is no name: {error}") from error

    def apply(self, entries: Sequence[capsules.RevocationEntry], origins: Sequence[bytes]) -> None:
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
            _log.warning("%s; admitting nothing: it takes %s", why, what)

    def _apply(self, entries: Sequence[capsules.RevocationEntry], origins: Sequence[bytes]) -> None:
        agent = self._machine
        is_news = self._restored is None
        crews = agent.active_config.policy.crews
        clocks = agent.believed()
        for entry, origin in zip(entries, origins, strict=True):
            if entry.kind in remote_quarantines.KINDS:
                who = f"gateway/{self.name(origin)}"
                agent.minting_watch.remote.add(entry, who, clocks.wall, is_news=is_news)
        keys, has_room = agent.revocations.apply_remote(entries, crews, clocks, is_news=is_news)
        if not has_room:
            self._lack(cluster_status.ROOM, "not all that others revoke is in force")
        if keys and is_news:
            agent.fanout.terminate_soon(keys)
        self._close(entries)  # also once more: the ledger may not have heard of the last ones
        if self._restored is not None:
            for entry in entries:
                if entry.key in self._restored:
                    before, expires = self._restored[entry.key]
                    most = max(before, entry.before), max(expires, entry.expires)
                    self._restored[entry.key] = most
            return
        named, wall_ns = agent.revocations.by_key(crews), agent.clock.wall_ns()
        agent.record(self._remote_audit.records(entries, origins, named, wall_ns))

    def _close(self, entries: Iterable[capsules.RevocationEntry]) -> None:
        """In the ledger, which remembers for longer; leases of what is below come back.

        A crew's account is no branch, whoever says so: it would be closed for ever.
        """
        crews = self._machine.revocations.by_key(self._machine.active_config.policy.crews)
        for entry in entries:
            if entry.key not in crews:
                self._machine.close_account(entry.kind, entry.key)

    def is_dead(self, keys: Sequence[tuple[bytes, int]]) -> bool:
        """By the table, which has what others revoked too."""
        return any(self._machine.table.is_revoked(key, at) for key, at in keys)

    def log(self, text: str) -> None:
        """One sentence for a person."""
        _log.info("%s", text)

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return self._machine.clock.boot_ns() / 1e9

    def wall(self) -> int:
        """Whole seconds, of a clock that does not jump: nothing expires because somebody set it."""
        return self._machine.believed().wall


def _knows(known: _Known, entry: capsules.RevocationEntry) -> bool:
    """Whether as much is dead by what others were told, and for as long."""
    before, expires = known[entry.key]
    return entry.before <= before and entry.expires <= expires


def _to_gossip(entry: StoredRevocation) -> capsules.RevocationEntry:
    """As others are told of it: names stay here."""
    key, crew = bytes.fromhex(entry.key), crew_key(entry.crew)
    return capsules.RevocationEntry(entry.kind, key, crew, entry.before, entry.expires)


def _credential(settings: Settings) -> SignedMemberRecord:
    """What peers are shown; AuthorityError."""
    place = settings.reached_at
    address = to_address(place.host, place.port)
    chain = read_certificates(settings.certificate)
    return SignedMemberRecord(tuple(map(_der, chain)), address.host, address.port)


def _der(certificate: Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _sockets(config: Config, settings: Settings) -> GossipSockets:
    try:
        return GossipSockets(settings.address, settings.port)
    except OSError as error:
        raise ConfigurationError(
            f"{config.path}: [cluster]: cannot listen at {settings.address}:{settings.port}: "
            f"{error.strerror}; another process may have the port"
        ) from error
