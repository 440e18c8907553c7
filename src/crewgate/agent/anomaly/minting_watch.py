"""The minting watch of one machine: grants as they come, verdicts on them, steps as they are told.

Decides which grants are evidence (each once, at its first use or when the token endpoint tells of
it) and what of them is new. `core/anomaly` knows what is usual, and who stands where. Refuses
nothing by itself: it says whether a grant may be used.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.anomaly.remote_quarantines import (
    QuarantineOutbox,
    RemoteOrder,
    RemoteQuarantines,
    to_gossip,
)
from crewgate.agent.anomaly.watch_messages import log_line, recorded
from crewgate.agent.branch_registry import BranchEntry, BranchRegistry
from crewgate.agent.journal import StateJournal
from crewgate.agent.revocation.types import ClockReading
from crewgate.config import CrewConfig
from crewgate.core import ids
from crewgate.core.anomaly.detector import AnomalyDetector
from crewgate.core.anomaly.enforcement import (
    EnforcementLevel,
    IllegalStepError,
    NoRoomError,
    TransitionCause,
)
from crewgate.core.anomaly.quarantined_keys import OrchestratorName
from crewgate.core.anomaly.transitions import (
    ProfileSnapshot,
    Transition,
    WatchState,
    newcomers_account,
)
from crewgate.core.anomaly.types import ObservedGrant
from crewgate.core.audit import records
from crewgate.core.cross_crew_account import is_account
from crewgate.core.gossip import capsules
from crewgate.core.policy.policy import ToolPolicy
from crewgate.core.policy.scope import count_covered
from crewgate.core.tokens.claims import Claims, is_text
from crewgate.core.tokens.grant import Grant
from crewgate.errors import RefusedError

_log = logging.getLogger(__name__)


class MintingWatch:
    """What the agent asks before it opens a branch, and what a person may set and lift."""

    def __init__(
        self,
        journal: StateJournal[ProfileSnapshot],
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
        self._watch = AnomalyDetector()
        self.remote = RemoteQuarantines()
        self._outbox = QuarantineOutbox()
        self._shown: dict[
            bytes, OrchestratorName
        ] = {}  # who stands above `observe`, and each crew's strangers
        self._most: dict[str, int] = {}  # micro-credits of a branch, by crew
        self._tools: list[str] = []
        self._began = ClockReading(0, 0)  # of a new table
        self.is_dirty = False  # a step is in the journal and perhaps not on disk

    def __repr__(self) -> str:
        return f"<MintingWatch {self._watch!r}>"

    def __len__(self) -> int:
        return len(self._watch)

    def __iter__(self) -> Iterator[ProfileSnapshot]:
        return iter(self._watch)

    def load(self, crews: Sequence[CrewConfig], tools: Sequence[ToolPolicy]) -> None:
        """Watch under this configuration from now on."""
        self._most = {crew.name: crew.credits_per_branch for crew in crews}
        self._watch.load({crew.name: crew.watch for crew in crews})
        self.remote.load(self._most)
        for crew in self._most:
            self._shown[ids.orchestrator_key(crew, newcomers_account(crew))] = (
                crew,
                newcomers_account(crew),
            )
        self._tools = sorted(tool.name for tool in tools)

    def restore(self, clocks: ClockReading) -> None:
        """Take up what the last agent left; OSError.

        A registry without a branch is a new table's (a reboot): the branches that were live before
        come back all at once, and were not minted now.
        """
        if not len(self._registry):
            self._began = clocks
        self._watch.restore(self._journal.read(), _seconds(clocks))
        self._journal.rewrite(self._watch)
        for each in self._watch:
            if each.is_untold:
                self._outbox.add((each.crew, each.orchestrator))
        for stands in self._watch.states():
            self._show(stands.crew, stands.orchestrator, stands.level)

    def admits(self, grant: Grant, clocks: ClockReading) -> bool:
        """Whether a grant may be used, which is counted if it is seen for the first time.

        What crosses to another crew on a certificate was granted by nobody: it is not counted.
        """
        if is_account(grant.crew):
            return True
        has_room = self._apply_remote_orders(grant.crew, grant.orchestrator, clocks)
        entry = self._registry.get(grant.branch_key)
        if entry is not None and not _changes_branch(grant, entry, clocks.wall):
            return True
        seen = self._seen(grant, entry, clocks)
        if not has_room:
            return not (seen.is_new or seen.grows)
        answer = self._watch.observe(seen, _seconds(clocks))
        for step in answer.steps:
            self._record(step, branch=grant.branch)
        return answer.admitted

    def _apply_remote_orders(self, crew: str, orchestrator: str, clocks: ClockReading) -> bool:
        """Do what other machines have said of it, and of the crew's strangers.

        False where it is held, and there is no room to remember that: it is said again.
        """
        has_room, wall = True, self._believed().wall
        for name in (orchestrator, newcomers_account(crew)):
            try:
                for heard in list(self.remote.of(crew, name, wall)):
                    self._apply_remote(crew, name, heard, clocks)
            except NoRoomError:
                has_room = False
            else:
                self.remote.done(crew, name, wall)
        return has_room

    def _apply_remote(
        self, crew: str, orchestrator: str, heard: RemoteOrder, clocks: ClockReading
    ) -> None:
        now = _seconds(clocks)
        step = self._watch.apply_remote(crew, orchestrator, now, heard.order, is_news=heard.is_news)
        if step is not None:
            self._record(step, by=heard.who)

    def poll(self, clocks: ClockReading, *, lapses: bool) -> None:
        """Once a second: let go who has calmed down, keep what was learnt.

        What others have said of those who are shown is done now: nobody need mint for it. `lapses`
        is False while the time of day may be wrong: no quarantine ends by it.
        """
        for key in self._shown.keys() & self.remote.keys():
            self._apply_remote_orders(*self._shown[key], clocks)
        wall = self._believed().wall if lapses else 0
        steps, changed = self._watch.poll(_seconds(clocks), wall)
        for saved in changed:
            self._journal.append(saved)
        for step in steps:
            self._record(step)

    def take_announcements(self) -> list[capsules.RevocationEntry]:
        """Whom the watch has quarantined and others have not heard of, as many as they may now."""
        entries = []
        for name in self._outbox.due(_seconds(self._believed())):
            word = self._watch.announced_order(*name)
            if word is not None:
                self._journal.append(self._watch.saved(*name))
                entries.append(to_gossip(*name, word))
        return entries

    def set(
        self, crew: str, orchestrator: str, clocks: ClockReading, seconds: int = 0
    ) -> WatchState:
        """A person quarantines an orchestrator, seen or unseen; RefusedError.

        For so long, or as long as its crew's quarantines are. Once more moves the end.
        """
        self.check(crew, orchestrator)
        self._apply_remote_orders(crew, orchestrator, clocks)
        now, wall = _seconds(clocks), self._believed().wall
        try:
            step = self._watch.quarantine(crew, orchestrator, now, wall, seconds)
        except IllegalStepError as error:
            raise RefusedError(f"{orchestrator}: {error}") from error
        return self._record(step)

    def lift(self, crew: str, orchestrator: str, clocks: ClockReading) -> WatchState:
        """A person lets an orchestrator go; RefusedError if nothing holds it."""
        self.check(crew, orchestrator)
        self._apply_remote_orders(crew, orchestrator, clocks)
        try:
            step = self._watch.lift(crew, orchestrator, self._believed().wall)
        except IllegalStepError as error:
            raise RefusedError(f"{orchestrator}: {error}") from error
        return self._record(step)

    def states(self) -> list[WatchState]:
        """Who stands above `observe`."""
        return self._watch.states()

    def sync(self) -> None:
        """Wait until the disk has every step; to be called in a thread."""
        self.is_dirty = False
        self._journal.sync()

    def check(self, crew: str, orchestrator: str) -> None:
        """RefusedError for a crew that is not configured, or a name that no token can have."""
        if crew not in self._most:
            raise RefusedError(f"no crew {crew!r}; configured are: {', '.join(self._most)}")
        if orchestrator != newcomers_account(crew) and not is_text(orchestrator):
            raise RefusedError(f"{orchestrator!r} is no orchestrator's client_id, such as bd/bd-1")

    def _seen(self, grant: Grant, entry: BranchEntry | None, clocks: ClockReading) -> ObservedGrant:
        claims = grant.claims
        is_live = entry is not None and _is_live(entry, clocks.wall)
        raises = self._raises(grant)
        return ObservedGrant(
            crew=grant.crew,
            orchestrator=grant.orchestrator,
            kid=grant.kid,
            branch=grant.branch_key,
            parent=grant.path_keys[-1] if grant.path_keys else b"",
            depth=len(grant.path_keys),
            patterns=len(claims.allowed_tools),
            tools=count_covered(claims.allowed_tools, self._tools),
            credits=raises[0],  # a child's are part of its root's
            iat=claims.iat,
            seconds=float(claims.exp - claims.iat),
            is_new=not is_live,
            grows=is_live and any(raises),
            is_old=self._is_old(claims.iat, clocks),
            at=self._believed().wall,
        )

    def _is_old(self, iat: int, clocks: ClockReading) -> bool:
        """It was minted before the table began, which was not longer ago than a token lives."""
        since = clocks.boot_ns - self._began.boot_ns
        return iat < self._began.wall and since < limits.token_lifetime_seconds_max * 10**9

    def _raises(self, grant: Grant) -> list[int]:
        """By how much the grant raises each level's credits, root … branch, as the table has them.

        An element of a path counts as that grant of an ancestor only with an `iat`, and no claim
        for more than the crew's ceiling.
        """
        most = self._most.get(grant.crew, 0)
        levels = [
            (key, each.credit_quota, each.iat)
            for key, each in zip(grant.path_keys, grant.claims.branch_path, strict=True)
        ]
        levels.append((grant.branch_key, grant.quota, grant.claims.iat))
        return [self._raise(key, min(quota, most), iat) for key, quota, iat in levels]

    def _raise(self, key: bytes, quota: int, iat: int | None) -> int:
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

    def _record(self, step: Transition, *, by: str = "", branch: str = "") -> WatchState:
        """Write a step down, and say it aloud where the orchestrator moved."""
        by = by or step.by
        self._show(step.crew, step.orchestrator, step.level)
        self._sink([recorded(step, self._wall_ns(), by=by, branch=branch)])
        if step.was is not step.level or step.by == "owner" or step.cause is TransitionCause.REMOTE:
            saved = self._watch.saved(step.crew, step.orchestrator)
            self._journal.append(saved)
            self.is_dirty = True
            if saved.is_untold:
                self._outbox.add((step.crew, step.orchestrator))
            _log.info("%s", log_line(step, by))
        return self._watch.state(step.crew, step.orchestrator)


def grant_of(claims: Claims, crew: str, kid: str) -> Grant:
    """The grant that the token endpoint is about to sign; ValueError for a bad branch id."""
    path = tuple(ids.branch_key(crew, each.id) for each in claims.branch_path)
    own = ids.branch_key(crew, claims.execution_branch_id)
    return Grant(claims, crew, kid, claims.credit_quota, own, path, ids.path_digest(path))


def _seconds(clocks: ClockReading) -> float:
    return clocks.boot_ns / 1e9


def _is_live(entry: BranchEntry, wall: int) -> bool:
    """It has been used, and its newest grant has not ended; an ancestor that never was is not."""
    return bool(entry.orchestrator) and entry.exp + limits.leeway_seconds > wall


def _changes_branch(grant: Grant, entry: BranchEntry, wall: int) -> bool:
    """A grant that begins or wakes its branch, or governs it from now on.

    Like in the ledger, at equal iat the lower quota governs. Any other grant of a live branch gives
    nothing that the branch has not.
    """
    if entry.grant == grant.claims.jti:
        return False
    newer = (grant.claims.iat, -grant.quota) > (entry.iat, -entry.quota)
    return newer or not _is_live(entry, wall)
