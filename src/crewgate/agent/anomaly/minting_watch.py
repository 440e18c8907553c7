"""The minting watch of one machine: observes grants, stores and logs transitions, takes orders.

It observes each grant once: at its first use, or when the token endpoint is about to sign it, and
determines what the grant adds. `core/anomaly` decides. The caller refuses a grant that may not be
used.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.anomaly.enforcement_audit import log_line, recorded
from crewgate.agent.anomaly.remote_quarantines import (
    QuarantineOutbox,
    RemoteOrder,
    RemoteQuarantines,
    to_gossip,
)
from crewgate.agent.branch_registry import BranchEntry, BranchRegistry
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation.types import ClockReading
from crewgate.config import CrewConfig
from crewgate.core import ids
from crewgate.core.anomaly.admission_control import AdmissionController
from crewgate.core.anomaly.enforcement import (
    EnforcementLevel,
    IllegalStepError,
    NoRoomError,
    TransitionCause,
)
from crewgate.core.anomaly.quarantined_by_key import OrchestratorName
from crewgate.core.anomaly.results import (
    OrchestratorStatus,
    ProfileSnapshot,
    Transition,
    newcomers_account,
)
from crewgate.core.anomaly.types import ObservedGrant
from crewgate.core.audit import records
from crewgate.core.cross_crew_accounts import is_account
from crewgate.core.gossip import capsules
from crewgate.core.policy.policy import ToolPolicy
from crewgate.core.policy.scope import count_covered
from crewgate.core.tokens.claims import is_text
from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceRefusedError

_log = logging.getLogger(__name__)


class MintingWatch:
    """Whether grants may be used, and the orders of persons and of other machines."""

    def __init__(
        self,
        journal: JournalFile[ProfileSnapshot],
        registry: BranchRegistry,
        table: OwnedTable,
        *,
        sink: Callable[[Iterable[records.Record]], object],
        wall_ns: Callable[[], int],
        believed: Callable[[], ClockReading],
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._table = table
        self._sink = sink
        self._wall_ns = wall_ns
        self._believed = believed
        self._detector = AdmissionController()
        self.remote = RemoteQuarantines()
        self._outbox = QuarantineOutbox()
        # The orchestrators above `observe`, and the newcomers' account of each crew, by key.
        self._shown: dict[bytes, OrchestratorName] = {}
        # The maximum micro-credits of a branch, by crew.
        self._quota_max: dict[str, int] = {}
        self._tools: list[str] = []
        # When a new table began; zero if the table was there before.
        self._table_began = ClockReading(0, 0)
        # A transition is in the journal, but may not be on disk yet.
        self.is_dirty = False

    def __len__(self) -> int:
        return len(self._detector)

    def __iter__(self) -> Iterator[ProfileSnapshot]:
        return iter(self._detector)

    def load(self, crews: Sequence[CrewConfig], tools: Sequence[ToolPolicy]) -> None:
        """Use this configuration from now on."""
        self._quota_max = {crew.name: crew.credits_per_branch for crew in crews}
        self._detector.load({crew.name: crew.watch for crew in crews})
        self.remote.load(self._quota_max)
        for crew in self._quota_max:
            name = crew, newcomers_account(crew)
            self._shown[ids.orchestrator_key(*name)] = name
        self._tools = sorted(tool.name for tool in tools)

    def restore(self, clocks: ClockReading) -> None:
        """Load the journal of the last agent. Raises OSError.

        An empty registry means a new table, after a reboot: the live branches come back all at
        once, so their grants say nothing about a rate.
        """
        if not len(self._registry):
            self._table_began = clocks
        self._detector.restore(self._journal.read(), _seconds(clocks))
        self._journal.rewrite(self._detector)
        for each in self._detector:
            if each.is_untold:
                self._outbox.add((each.crew, each.orchestrator))
        for state in self._detector.states():
            self._show(state.crew, state.orchestrator, state.level)

    def admits(self, grant: Grant, clocks: ClockReading) -> bool:
        """Return whether a grant may be used; observe the grant if it is new.

        Cross-crew calls on a certificate have no grant of an orchestrator, so they are not watched.
        """
        if is_account(grant.crew):
            return True
        has_room = self._apply_remote_orders(grant.crew, grant.orchestrator, clocks)
        entry = self._registry.get(grant.branch_key)
        if entry is not None and not _changes_branch(grant, entry, clocks.wall):
            return True
        observed = self._observed(grant, entry, clocks)
        if not has_room:
            return not (observed.is_new or observed.grows)
        admission = self._detector.observe(observed, _seconds(clocks))
        for step in admission.steps:
            self._record(step, branch=grant.branch)
        return admission.admitted

    def _apply_remote_orders(self, crew: str, orchestrator: str, clocks: ClockReading) -> bool:
        """Apply the orders of other machines on an orchestrator and on its crew's newcomers.

        Return False if an order cannot be stored for lack of room: then the orchestrator counts as
        quarantined, and the next grant tries again.
        """
        has_room, wall = True, self._believed().wall
        for name in (orchestrator, newcomers_account(crew)):
            try:
                for order in list(self.remote.of(crew, name, wall)):
                    self._apply_remote(crew, name, order, clocks)
            except NoRoomError:
                has_room = False
            else:
                self.remote.done(crew, name, wall)
        return has_room

    def _apply_remote(
        self, crew: str, orchestrator: str, remote: RemoteOrder, clocks: ClockReading
    ) -> None:
        step = self._detector.apply_remote(
            crew, orchestrator, _seconds(clocks), remote.order, is_news=remote.is_news
        )
        if step is not None:
            self._record(step, by=remote.who)

    def poll(self, clocks: ClockReading, *, lapses: bool) -> None:
        """Step down orchestrators that are calm, and store baselines; call it once a second.

        It also applies remote orders on the orchestrators that `states` shows, without waiting for
        a grant. `lapses` is False while the wall time may be wrong; then no quarantine lapses.
        """
        for key in self._shown.keys() & self.remote.keys():
            self._apply_remote_orders(*self._shown[key], clocks)
        wall = self._believed().wall if lapses else 0
        steps, changed = self._detector.poll(_seconds(clocks), wall)
        for snapshot in changed:
            self._journal.append(snapshot)
        for step in steps:
            self._record(step)

    def take_announcements(self) -> list[capsules.RevocationEntry]:
        """Return the quarantines to announce to the other machines now, within the rate limit."""
        entries = []
        for name in self._outbox.due(_seconds(self._believed())):
            order = self._detector.announced_order(*name)
            if order is not None:
                self._journal.append(self._detector.saved(*name))
                entries.append(to_gossip(*name, order))
        return entries

    def set(
        self,
        crew: str,
        orchestrator: str,
        clocks: ClockReading,
        seconds: int = 0,
        *,
        by: str = "",
    ) -> OrchestratorStatus:
        """Quarantine an orchestrator by a person's order, or change the end of its quarantine.

        The watch need not know the orchestrator. `seconds` 0 means the duration of the crew's
        configuration. `by` is the person, if it is nobody on this machine. Raises
        ServiceRefusedError.
        """
        self.check(crew, orchestrator)
        self._apply_remote_orders(crew, orchestrator, clocks)
        now, wall = _seconds(clocks), self._believed().wall
        try:
            step = self._detector.quarantine(crew, orchestrator, now, wall, seconds)
        except IllegalStepError as error:
            raise ServiceRefusedError(f"{orchestrator}: {error}") from error
        return self._record(step, by=by)

    def lift(
        self, crew: str, orchestrator: str, clocks: ClockReading, *, by: str = ""
    ) -> OrchestratorStatus:
        """Release an orchestrator by the order of a person, as `set`.

        Raises ServiceRefusedError if it is not held.
        """
        self.check(crew, orchestrator)
        self._apply_remote_orders(crew, orchestrator, clocks)
        try:
            step = self._detector.lift(crew, orchestrator, self._believed().wall)
        except IllegalStepError as error:
            raise ServiceRefusedError(f"{orchestrator}: {error}") from error
        return self._record(step, by=by)

    def states(self) -> list[OrchestratorStatus]:
        """Return the states of all orchestrators above `observe`."""
        return self._detector.states()

    def has_seen(self, orchestrator: str) -> bool:
        """Return whether it has observed a grant of an orchestrator, or restricts the name now.

        It still knows the name after a restart, and with a new table or another ledger.
        """
        return self._detector.has_seen(orchestrator)

    def sync(self) -> None:
        """Wait until the disk has all transitions. Blocks, so call it in a thread."""
        self.is_dirty = False
        self._journal.sync()

    def check(self, crew: str, orchestrator: str) -> None:
        """Raise ServiceRefusedError for an unknown crew, or for a name that no token can have."""
        if crew not in self._quota_max:
            raise ServiceRefusedError(
                f"no crew {crew!r}; configured are: {', '.join(self._quota_max)}"
            )
        if orchestrator != newcomers_account(crew) and not is_text(orchestrator):
            raise ServiceRefusedError(
                f"{orchestrator!r} is not an orchestrator's client_id, such as bd/bd-1"
            )

    def _observed(
        self, grant: Grant, entry: BranchEntry | None, clocks: ClockReading
    ) -> ObservedGrant:
        claims = grant.claims
        is_live = entry is not None and _is_live(entry, clocks.wall)
        increases = self._quota_increases(grant)
        return ObservedGrant(
            crew=grant.crew,
            orchestrator=grant.orchestrator,
            kid=grant.kid,
            branch=grant.branch_key,
            parent=grant.path_keys[-1] if grant.path_keys else b"",
            depth=len(grant.path_keys),
            patterns=len(claims.allowed_tools),
            tools=count_covered(claims.allowed_tools, self._tools),
            # A child's credits are part of its root's.
            credits=increases[0],
            iat=claims.iat,
            seconds=float(claims.exp - claims.iat),
            is_new=not is_live,
            grows=is_live and any(increases),
            is_old=self._is_old(claims.iat, clocks),
            at=self._believed().wall,
        )

    def _is_old(self, iat: int, clocks: ClockReading) -> bool:
        """Return whether a grant is older than a table that began less than a token's life ago."""
        since = clocks.boot_ns - self._table_began.boot_ns
        return iat < self._table_began.wall and since < limits.token_lifetime_seconds_max * 10**9

    def _quota_increases(self, grant: Grant) -> list[int]:
        """Return by how much a grant raises the quota of each level in the table, root first.

        An ancestor in the path counts only if it has an `iat`, since only then it is that grant of
        the ancestor. A quota counts up to the crew's ceiling.
        """
        quota_max = self._quota_max.get(grant.crew, 0)
        levels = [
            (key, each.credit_quota, each.iat)
            for key, each in zip(grant.path_keys, grant.claims.branch_path, strict=True)
        ]
        levels.append((grant.branch_key, grant.quota, grant.claims.iat))
        return [self._increase(key, min(quota, quota_max), iat) for key, quota, iat in levels]

    def _increase(self, key: bytes, quota: int, iat: int | None) -> int:
        number = self._table.find(key)
        known = self._table.branch(number) if number >= 0 else None
        if known is None:
            return quota
        return max(0, quota - known.quota) if iat is not None and iat > known.quota_iat else 0

    def _show(self, crew: str, orchestrator: str, level: EnforcementLevel) -> None:
        key = ids.orchestrator_key(crew, orchestrator)
        if level is not EnforcementLevel.OBSERVE:
            self._shown[key] = crew, orchestrator
        elif orchestrator != newcomers_account(crew):
            self._shown.pop(key, None)

    def _record(self, step: Transition, *, by: str = "", branch: str = "") -> OrchestratorStatus:
        """Audit a transition; store and log it if it changes a level or comes from a person."""
        by = by or step.by
        self._show(step.crew, step.orchestrator, step.level)
        self._sink([recorded(step, self._wall_ns(), by=by, branch=branch)])
        if step.was is not step.level or step.by == "owner" or step.cause is TransitionCause.REMOTE:
            snapshot = self._detector.saved(step.crew, step.orchestrator)
            self._journal.append(snapshot)
            self.is_dirty = True
            if snapshot.is_untold:
                self._outbox.add((step.crew, step.orchestrator))
            _log.info("%s", log_line(step, by))
        return self._detector.state(step.crew, step.orchestrator)


def _seconds(clocks: ClockReading) -> float:
    return clocks.boot_ns / 1e9


def _is_live(entry: BranchEntry, wall: int) -> bool:
    """Return whether a branch was used and its newest grant has not expired.

    An ancestor that was never used itself is not live.
    """
    return bool(entry.orchestrator) and entry.exp + limits.leeway_seconds > wall


def _changes_branch(grant: Grant, entry: BranchEntry, wall: int) -> bool:
    """Return whether a grant begins or wakes its branch, or governs it from now on.

    At equal `iat` the lower quota governs, as in the ledger. Any other grant of a live branch adds
    nothing.
    """
    if entry.grant == grant.claims.jti:
        return False
    newer = (grant.claims.iat, -grant.quota) > (entry.iat, -entry.quota)
    return newer or not _is_live(entry, wall)
