"""Connects the agent with the gossip: sends its revocations to the members, and applies theirs.

It is the host of the gossip (`GossipNode`) and the `ClusterPeers` of the agent. It decides until
when this machine knows what a majority of the members knows.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.agent import machine_answers
from crewgate.agent.anomaly import remote_quarantines
from crewgate.agent.audit_checkpoints import AuditCheckpoints
from crewgate.agent.budget.ledger_mark_keeper import LedgerMarkKeeper
from crewgate.agent.cluster import cluster_metrics, cluster_status, machine_questions
from crewgate.agent.cluster.crl_exchange import ClusterCRLExchange
from crewgate.agent.cluster.membership_log import MembershipLog
from crewgate.agent.revocation.remote_audit import RemoteRevocationAudit
from crewgate.agent.revocation.target_existence import is_known
from crewgate.agent.revocation.types import StoredRevocation
from crewgate.agent.state import AgentState
from crewgate.ca.key_files import read_certificates
from crewgate.ca.member_signing_key import read_signing_key
from crewgate.config import CAConfig, Config
from crewgate.config import ClusterConfig as Settings
from crewgate.core.actors import ActorKind
from crewgate.core.gossip import capsules
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.gossip.messages import MemberAddress
from crewgate.core.ids import cluster_id, crew_key
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.revocation_kinds import BY_CLAIM_LABEL, RevocationTarget
from crewgate.core.tokens.claims import is_text
from crewgate.core.x509.identity_extension import MAY_REVOKE
from crewgate.errors import CAError, ConfigurationError, GossipError
from crewgate.gossip.kept_checkpoints import CheckpointHead
from crewgate.gossip.member_verification import SignedMemberRecord
from crewgate.gossip.node import GossipNode, LocalMemberIdentity
from crewgate.gossip.sockets import GossipSockets, own_address
from crewgate.gossip.stream import TargetExistenceQuery
from crewgate.gossip.transport import GossipTransport, TLSFiles
from crewgate.ipc.cluster_messages import MachineClusterStatus, QuorumSyncState
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.policy.serve_config_checks import cannot_bind

_log = logging.getLogger(__name__)
# By key: until when issued tokens are revoked, and when the revocation expires.
_Known = dict[bytes, tuple[int, int]]


class Cluster:
    """The gossip of one machine. Raises ConfigurationError if [cluster] cannot be used.

    With `bootstrap` an operator confirms that no other member has revocations. A machine without a
    peer in its configuration, table or disk needs no such confirmation.
    """

    def __init__(
        self, agent: AgentState, settings: Settings, ca: CAConfig, *, bootstrap: bool
    ) -> None:
        config = agent.active_config.config
        folder = config.state / "gossip"
        had_others = 0 < agent.table.synced_until < limits.never_ns
        is_alone = not (settings.peers or had_others or (folder / "standing").exists())
        self._agent = agent
        self._settings = settings
        # Until when, by the previous agent, this table has what a majority knew.
        self._inherited_ns = agent.table.synced_until if had_others else 0
        # Why this machine cannot apply all revocations; empty if it can.
        self._lacks = ""
        self._remote_audit = RemoteRevocationAudit(agent.registry, self.name)
        # This machine's revocations, as the members have them; None once the gossip is restored.
        self._restored: _Known | None = {}
        # A name of [cluster] is resolved once: a change would take effect at the next start only.
        self._address = _own_address(config, settings)
        me = LocalMemberIdentity(
            _credential(settings, self._address),
            read_signing_key(settings.signing_key),
            ca.root,
            cluster_id(ca.trust_domain),
            folder,
            ca.identity_oids,
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
        self.gossip.on_member_question = partial(machine_answers.to_member, agent)
        name = self.gossip.membership.me.name
        if config.name not in {"", name}:
            self._sockets.close()
            raise ConfigurationError(
                f"{config.path}: [cluster] certificate is that of machine {name}, but name is "
                f'"{config.name}": make both the same'
            )
        self._membership_log = MembershipLog(self.gossip)
        self._runs_rate = TokenBucket(limits.subject_runs_per_second, limits.subject_runs_burst)
        self._set_sync_interval()
        files = TLSFiles(settings.certificate, settings.key, ca.root)
        self.service = GossipTransport(self.gossip, self._sockets, files, settings.peers)

    def restore(self) -> None:
        """Apply the stored revocations of the members, and send those that they lack.

        Raises OSError.
        """
        own = [_to_gossip(entry) for entry in self._agent.revocations if entry.kind]
        self._restored = known = {entry.key: (0, 0) for entry in own}
        self.gossip.restore()
        self._membership_log.begin()
        self._restored = None
        entries = [entry for entry in own if not _knows(known, entry)]
        if entries:
            try:
                self.gossip.revoke(entries)
            except ValueError as error:
                _log.warning(
                    "%d revocations are in force only on this machine: %s", len(entries), error
                )

    def keep_mark(self, keeper: LedgerMarkKeeper) -> None:
        """Have the members store the ledger's mark, and the keeper check the marks they have."""
        marks = self.gossip.ledger_marks
        marks.update(keeper.mark)
        keeper.on_written = marks.update
        self.gossip.on_mark = keeper.check_peer_mark

    def keep_checkpoints(self, checkpoints: AuditCheckpoints) -> None:
        """Have the members keep the checkpoints of the audit, and answer what this one keeps."""
        kept = self.gossip.kept_checkpoints

        def took(number: int, digest: str) -> None:
            kept.own = CheckpointHead(number, digest)

        def kept_of(name: str) -> list[tuple[int, str, float]]:
            members = {each.id for each in self.gossip.membership.certificates}
            found = [each for each in members if self.name(each) == name]
            return [(one.number, one.digest, one.heard) for each in found for one in kept.of(each)]

        checkpoints.on_taken = took
        self._agent.kept_checkpoints = kept_of

    def load(self, settings: Settings) -> None:
        """See `ClusterPeers`."""
        self._settings = settings
        self.service.peers = settings.peers
        self.gossip.node.freshness.any_other = settings.staleness_quorum == "any"
        self._set_sync_interval()
        try:
            self.gossip.renew(_credential(settings, self._address))
        except (GossipError, CAError, OSError) as error:
            _log.warning("keeping the previous peer certificate: %s", error)

    def _set_sync_interval(self) -> None:
        seconds = min(limits.compare_seconds, self.staleness / limits.compare_times)
        self.gossip.node.anti_entropy.seconds = seconds

    def announce(self, entries: Sequence[StoredRevocation]) -> AckState | None:
        """See `ClusterPeers`."""
        try:
            ids = self.gossip.revoke([_to_gossip(entry) for entry in entries])
            return self.gossip.node.receipts.begin(ids, self.now())
        except ValueError as error:
            _log.warning(
                "a revocation is in force on this machine, without acknowledgements: %s", error
            )
            return None

    def pass_on(self, entries: Sequence[capsules.RevocationEntry]) -> None:
        """See `ClusterPeers`. Members ignore orders of a machine without the right to revoke."""
        if self.gossip.membership.may_revoke:
            self.gossip.revoke(entries)
        else:
            _log.warning(
                "a quarantine applies only on this machine: its certificate lacks the right %r; "
                "issue a new one with --right %s",
                MAY_REVOKE,
                MAY_REVOKE,
            )

    async def run(self) -> None:
        """See `ClusterPeers`."""
        await self.service.run()

    async def wait(self, receipt: AckState, is_enough: Callable[[AckState], bool]) -> None:
        """See `ClusterPeers`."""
        await self.service.wait(receipt, is_enough)

    def end(self, receipt: AckState) -> None:
        """See `ClusterPeers`."""
        self.gossip.node.receipts.end(receipt)

    def own_name(self) -> str:
        """See `ClusterPeers`."""
        return self.gossip.membership.me.name

    def name(self, member: bytes) -> str:
        """See `ClusterPeers`."""
        return self.gossip.membership.certificates.name(member)

    @property
    def staleness(self) -> float:
        """For how many seconds a comparison counts."""
        return self._settings.max_staleness_seconds

    def synced_until_ns(self) -> int:
        """See `ClusterPeers`. Return 0 if this machine cannot sync.

        That is so even if `staleness_quorum = "any"` would let it continue after an eviction.
        """
        if not self.can_sync():
            return 0
        until = self.gossip.node.freshness.until(self.staleness)
        if math.isinf(until):
            return limits.never_ns if until > 0 else self._inherited_ns
        return max(self._inherited_ns, round(until * 1e9))

    def can_sync(self) -> bool:
        """See `ClusterPeers`. False after an eviction, with a wrong clock, or without room."""
        ahead = abs(self.gossip.node.anti_entropy.clock_offset)
        is_evicted = self.gossip.membership.is_evicted
        return not (self._lacks or is_evicted or ahead > limits.skew_max)

    def in_touch(self) -> QuorumSyncState:
        """See `ClusterPeers`."""
        until_ns, unreached = self.synced_until_ns(), self.service.unreached
        return cluster_status.in_touch(self.gossip, self.staleness, until_ns, unreached)

    def note_metrics(self, metrics: ProcessMetrics) -> None:
        """See `ClusterPeers`."""
        cluster_metrics.note(metrics, self.gossip, self.staleness)

    def incomplete_reason(self) -> str:
        """See `ClusterPeers`."""
        is_incomplete = self.gossip.log.incomplete
        missing = "some revocations of members are missing" if is_incomplete else ""
        return self.gossip.disk.why or missing

    def invalid_crls(self) -> str:
        """See `ClusterPeers`."""
        return self._crls.invalid()

    def waiting_for(self) -> str:
        """See `ClusterPeers`."""
        return cluster_status.waiting_for(self.gossip, self.in_touch(), self.staleness, self._lacks)

    async def ask_seen(self, target: RevocationTarget) -> list[bool]:
        """See `ClusterPeers`."""
        return await self.service.ask(
            TargetExistenceQuery(target.rules.label, target.name, target.crew)
        )

    async def runs_of(self, subject: str, crew: str) -> tuple[set[bytes], int]:
        """See `ClusterPeers`."""
        return await machine_questions.runs_of(self.service, subject, crew, self._runs_rate)

    def record_pending(self) -> None:
        """See `ClusterPeers`."""
        self._membership_log.log_changes(self.now())
        self._agent.record(self._remote_audit.rest(self._agent.clock.wall_ns()))

    def status(self, number: int) -> MachineClusterStatus:
        """Return the answer to request `number` of the admin socket."""
        touch, lacks = self.in_touch(), self.waiting_for()
        return cluster_status.cluster_status(self.gossip, number, touch, lacks, self.staleness)

    async def _was_seen(self, ask: TargetExistenceQuery) -> bool | None:
        """Answer a member; None if unknown. Raises GossipError for an invalid name."""
        rules = BY_CLAIM_LABEL.get(ask.target)
        if rules is None or not is_text(ask.name):
            raise GossipError("a question about a name that tokens do not have")
        try:
            target = RevocationTarget(rules.kind, ask.name, ask.crew)
            return await is_known(self._agent, target)
        except ValueError as error:
            raise GossipError(f"a question about an invalid name: {error}") from error

    def apply(self, entries: Sequence[capsules.RevocationEntry], origins: Sequence[bytes]) -> None:
        """Apply and record the revocations of members, ending calls and closing accounts.

        The entries of one member must not end the agents of all machines at each start. So after an
        internal error the agent refuses all calls, and logs why.
        """
        try:
            self._apply(entries, origins)
        except Exception as error:  # noqa: BLE001 - see above
            self._refuse_calls(
                f"internal error with remote revocations: {error!r}", cluster_status.FAULT
            )

    def _refuse_calls(self, why: str, lacks: str) -> None:
        if not self._lacks:
            self._lacks = lacks
            _log.warning("%s; refusing all calls: this machine needs %s", why, lacks)

    def _apply(self, entries: Sequence[capsules.RevocationEntry], origins: Sequence[bytes]) -> None:
        agent = self._agent
        is_news = self._restored is None
        clocks = agent.believed()
        for entry, origin in zip(entries, origins, strict=True):
            if entry.kind in remote_quarantines.KINDS:
                who = ActorKind.GATEWAY.named(self.name(origin))
                agent.minting_watch.remote.add(entry, who, clocks.wall, is_news=is_news)
        keys, has_room = agent.revocations.apply_remote(entries, clocks, is_news=is_news)
        if not has_room:
            self._refuse_calls("some remote revocations are not in force", cluster_status.ROOM)
        if keys and is_news:
            agent.fanout.terminate_soon(keys)
        agent.remote_revocations.add(entries, origins, clocks.wall if is_news else 0)
        # Also close restored ones: the ledger may lack the last closings.
        self._close(entries)
        if self._restored is not None:
            for entry in entries:
                if entry.key in self._restored:
                    before, expires = self._restored[entry.key]
                    latest = max(before, entry.before), max(expires, entry.expires)
                    self._restored[entry.key] = latest
            return
        crews, wall_ns = agent.revocations.by_key, agent.clock.wall_ns()
        agent.record(self._remote_audit.records(entries, origins, crews, wall_ns))

    def _close(self, entries: Iterable[capsules.RevocationEntry]) -> None:
        """Close accounts in the ledger, which remembers for longer, and take back their leases.

        It never closes the account of a crew as if it were a branch: that would be for ever.
        """
        for entry in entries:
            if entry.key not in self._agent.revocations.by_key:
                self._agent.close_account(entry.kind, entry.key)

    def is_dead(self, keys: Sequence[tuple[bytes, int]]) -> bool:
        """Return whether one of the keys is revoked for its time, by any machine."""
        return any(self._agent.table.is_revoked(key, at) for key, at in keys)

    def log(self, text: str) -> None:
        """Log a message of the gossip."""
        _log.info("%s", text)

    def now(self) -> float:
        """Return CLOCK_BOOTTIME in seconds."""
        return self._agent.clock.boot_ns() / 1e9

    def wall(self) -> int:
        """Return the wall clock in whole seconds, without its jumps: they let nothing expire."""
        return self._agent.believed().wall


def _knows(known: _Known, entry: capsules.RevocationEntry) -> bool:
    """Return whether the members have at least this revocation, for at least as long."""
    before, expires = known[entry.key]
    return entry.before <= before and entry.expires <= expires


def _to_gossip(entry: StoredRevocation) -> capsules.RevocationEntry:
    key, crew = bytes.fromhex(entry.key), crew_key(entry.crew)
    return capsules.RevocationEntry(entry.kind, key, crew, entry.before, entry.expires)


def _own_address(config: Config, settings: Settings) -> MemberAddress:
    try:
        return own_address(*settings.reached_at, settings.address)
    except GossipError as error:
        raise ConfigurationError(f"{config.path}: [cluster] {error}") from error


def _credential(settings: Settings, address: MemberAddress) -> SignedMemberRecord:
    chain = read_certificates(settings.certificate)
    encoded = tuple(each.public_bytes(Encoding.DER) for each in chain)
    return SignedMemberRecord(encoded, address.host, address.port)


def _sockets(config: Config, settings: Settings) -> GossipSockets:
    try:
        return GossipSockets(settings.address, settings.port)
    except OSError as error:
        section = f"{config.path}: [cluster]"
        raise cannot_bind(section, settings.address, settings.port, error) from error
