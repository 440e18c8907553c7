"""The minting watch of one machine: grants as they come, verdicts on them, steps as they are told.

Decides which grants are evidence (each once, at its first use or when the token endpoint tells of
it) and what of them is new. `core/anomaly` knows what is usual, and who stands where. Refuses
nothing by itself: it says whether a grant may be used.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate.agent.anomaly.remote_quarantines import Heard, Quarantines, Untold, told
from crewgate.agent.anomaly.watch_messages import recorded, said
from crewgate.agent.branch_registry import Entry, Registry
from crewgate.agent.journal import Journal
from crewgate.agent.revocation.entries import Clocks
from crewgate.config import Crew
from crewgate.core import ids
from crewgate.core.anomaly.detector import Watch
from crewgate.core.anomaly.enforcement import Cause, IllegalStepError, NoRoomError, Rung
from crewgate.core.anomaly.quarantined_keys import Name
from crewgate.core.anomaly.transitions import Saved, Standing, Step, strangers
from crewgate.core.anomaly.types import Seen
from crewgate.core.audit import records
from crewgate.core.cross_crew_account import is_account
from crewgate.core.gossip import capsules
from crewgate.core.policy.policy import Tool
from crewgate.core.policy.scope import count_covered
from crewgate.core.tokens.claims import Claims, is_text
from crewgate.core.tokens.grant import Grant
from crewgate.errors import RefusedError


class Watching:
    """What the agent asks before it opens a branch, and what a person may set and lift."""

    def __init__(
        self,
        journal: Journal[Saved],
        registry: Registry,
        table: OwnedTable,
        *,
        say: Callable[[str], None],
        sink: Callable[[Iterable[records.Record]], None],
        wall_ns: Callable[[], int],
        believed: Callable[[], Clocks],
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._table = table
        self._say = say
        self._sink = sink
        self._wall_ns = wall_ns
        self._believed = believed
        self._watch = Watch()
        self.abroad = Quarantines(say)
        self._untold = Untold(say)
        self._shown: dict[bytes, Name] = {}  # who stands above `observe`, and each crew's strangers
        self._most: dict[str, int] = {}  # micro-credits of a branch, by crew
        self._tools: list[str] = []
        self._began = Clocks(0, 0)  # of a new table
        self.is_dirty = False  # a step is in the journal and perhaps not on disk

    def __repr__(self) -> str:
        return f"<Watching {self._watch!r}>"

    def __len__(self) -> int:
        return len(self._watch)

    def __iter__(self) -> Iterator[Saved]:
        return iter(self._watch)

    def load(self, crews: Sequence[Crew], tools: Sequence[Tool]) -> None:
        """Watch under this configuration from now on."""
        self._most = {crew.name: crew.credits_per_branch for crew in crews}
        self._watch.load({crew.name: crew.watch for crew in crews})
        self.abroad.load(self._most)
        for crew in self._most:
            self._shown[ids.orchestrator_key(crew, strangers(crew))] = crew, strangers(crew)
        self._tools = sorted(tool.name for tool in tools)

    def restore(self, clocks: Clocks) -> None:
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
                self._untold.add((each.crew, each.orchestrator))
        for stands in self._watch.standings():
            self._show(stands.crew, stands.orchestrator, stands.rung)

    def admits(self, grant: Grant, clocks: Clocks) -> bool:
        """Whether a grant may be used, which is counted if it is seen for the first time.

        What crosses to another crew on a certificate was granted by nobody: it is not counted.
        """
        if is_account(grant.crew):
            return True
        has_room = self._heed(grant.crew, grant.orchestrator, clocks)
        entry = self._registry.get(grant.branch_key)
        if entry is not None and not _is_news(grant, entry, clocks.wall):
            return True
        seen = self._seen(grant, entry, clocks)
        if not has_room:
            return not (seen.is_new or seen.grows)
        answer = self._watch.see(seen, _seconds(clocks))
        for step in answer.steps:
            self._tell(step, branch=grant.branch)
        return answer.admitted

    def _heed(self, crew: str, orchestrator: str, clocks: Clocks) -> bool:
        """Do what other machines have said of it, and of the crew's strangers.

        False where it is held, and there is no room to remember that: it is said again.
        """
        has_room, wall = True, self._believed().wall
        for name in (orchestrator, strangers(crew)):
            try:
                for heard in list(self.abroad.of(crew, name, wall)):
                    self._obey(crew, name, heard, clocks)
            except NoRoomError:
                has_room = False
            else:
                self.abroad.done(crew, name, wall)
        return has_room

    def _obey(self, crew: str, orchestrator: str, heard: Heard, clocks: Clocks) -> None:
        now = _seconds(clocks)
        step = self._watch.obey(crew, orchestrator, now, heard.word, is_news=heard.is_news)
        if step is not None:
            self._tell(step, by=heard.who)

    def look(self, clocks: Clocks, *, lapses: bool) -> None:
        """Once a second: let go who has calmed down, keep what was learnt.

        What others have said of those who are shown is done now: nobody need mint for it. `lapses`
        is False while the time of day may be wrong: no quarantine ends by it.
        """
        for key in self._shown.keys() & self.abroad.keys():
            self._heed(*self._shown[key], clocks)
        wall = self._believed().wall if lapses else 0
        steps, changed = self._watch.look(_seconds(clocks), wall)
        for saved in changed:
            self._journal.append(saved)
        for step in steps:
            self._tell(step)

    def news(self) -> list[capsules.Entry]:
        """Whom the watch has quarantined and others have not heard of, as many as they may now."""
        entries = []
        for name in self._untold.due(_seconds(self._believed())):
            word = self._watch.told(*name)
            if word is not None:
                self._journal.append(self._watch.saved(*name))
                entries.append(told(*name, word))
        return entries

    def set(self, crew: str, orchestrator: str, clocks: Clocks, seconds: int = 0) -> Standing:
        """A person quarantines an orchestrator, seen or unseen; RefusedError.

        For so long, or as long as its crew's quarantines are. Once more moves the end.
        """
        self.check(crew, orchestrator)
        self._heed(crew, orchestrator, clocks)
        now, wall = _seconds(clocks), self._believed().wall
        try:
            step = self._watch.quarantine(crew, orchestrator, now, wall, seconds)
        except IllegalStepError as error:
            raise RefusedError(f"{orchestrator}: {error}") from error
        return self._tell(step)

    def lift(self, crew: str, orchestrator: str, clocks: Clocks) -> Standing:
        """A person lets an orchestrator go; RefusedError if nothing holds it."""
        self.check(crew, orchestrator)
        self._heed(crew, orchestrator, clocks)
        try:
            step = self._watch.lift(crew, orchestrator, self._believed().wall)
        except IllegalStepError as error:
            raise RefusedError(f"{orchestrator}: {error}") from error
        return self._tell(step)

    def standings(self) -> list[Standing]:
        """Who stands above `observe`."""
        return self._watch.standings()

    def sync(self) -> None:
        """Wait until the disk has every step; to be called in a thread."""
        self.is_dirty = False
        self._journal.sync()

    def check(self, crew: str, orchestrator: str) -> None:
        """RefusedError for a crew that is not configured, or a name that no token can have."""
        if crew not in self._most:
            raise RefusedError(f"no crew {crew!r}; configured are: {', '.join(self._most)}")
        if orchestrator != strangers(crew) and not is_text(orchestrator):
            raise RefusedError(f"{orchestrator!r} is no orchestrator's client_id, such as bd/bd-1")

    def _seen(self, grant: Grant, entry: Entry | None, clocks: Clocks) -> Seen:
        claims = grant.claims
        is_live = entry is not None and _is_live(entry, clocks.wall)
        raises = self._raises(grant)
        return Seen(
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

    def _is_old(self, iat: int, clocks: Clocks) -> bool:
        """It was minted before the table began, which was not longer ago than a token lives."""
        since = clocks.boot_ns - self._began.boot_ns
        return iat < self._began.wall and since < limits.token_lifetime_seconds_max * 10**9

    def _raises(self, grant: Grant) -> list[int]:
        """By how much the grant raises each level's credits, root … branch, as the table has them.

        An element of a path counts as that grant of an ancestor only with an `iat`, and no claim
        for more than the crew's ceiling (design/token.md).
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

    def _show(self, crew: str, orchestrator: str, rung: Rung) -> None:
        key = ids.orchestrator_key(crew, orchestrator)
        if rung is not Rung.OBSERVE:
            self._shown[key] = crew, orchestrator
        elif orchestrator != strangers(crew):
            self._shown.pop(key, None)

    def _tell(self, step: Step, *, by: str = "", branch: str = "") -> Standing:
        """Write a step down, and say it aloud where the orchestrator moved."""
        by = by or step.by
        self._show(step.crew, step.orchestrator, step.rung)
        self._sink([recorded(step, self._wall_ns(), by=by, branch=branch)])
        if step.was is not step.rung or step.by == "owner" or step.cause is Cause.TOLD:
            saved = self._watch.saved(step.crew, step.orchestrator)
            self._journal.append(saved)
            self.is_dirty = True
            if saved.is_untold:
                self._untold.add((step.crew, step.orchestrator))
            self._say(said(step, by))
        return self._watch.standing(step.crew, step.orchestrator)


def grant_of(claims: Claims, crew: str, kid: str) -> Grant:
    """The grant that the token endpoint is about to sign; ValueError for a bad branch id."""
    path = tuple(ids.branch_key(crew, each.id) for each in claims.branch_path)
    own = ids.branch_key(crew, claims.execution_branch_id)
    return Grant(claims, crew, kid, claims.credit_quota, own, path, ids.path_digest(path))


def _seconds(clocks: Clocks) -> float:
    return clocks.boot_ns / 1e9


def _is_live(entry: Entry, wall: int) -> bool:
    """It has been used, and its newest grant has not ended; an ancestor that never was is not."""
    return bool(entry.orchestrator) and entry.exp + limits.leeway_seconds > wall


def _is_news(grant: Grant, entry: Entry, wall: int) -> bool:
    """A grant that begins or wakes its branch, or governs it from now on.

    Like in the ledger, at equal iat the lower quota governs. Any other grant of a live branch gives
    nothing that the branch has not.
    """
    if entry.grant == grant.claims.jti:
        return False
    newer = (grant.claims.iat, -grant.quota) > (entry.iat, -entry.quota)
    return newer or not _is_live(entry, wall)
