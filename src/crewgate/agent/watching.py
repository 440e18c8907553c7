"""The minting watch of one machine: grants as they come, verdicts on them, steps as they are told.

Decides which grants are evidence (each once, at its first use or when the token endpoint tells of
it) and what of them is new. What is usual, and who stands where, is `core/anomaly`'s. Refuses
nothing by itself: whoever asks is told whether a grant may be used.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate.agent.entries import Clocks
from crewgate.agent.journal import Journal
from crewgate.agent.quarantines import Quarantines
from crewgate.agent.registry import Entry, Registry
from crewgate.config import Crew
from crewgate.core import ids, record
from crewgate.core.anomaly import Watch
from crewgate.core.claims import Claims, is_text
from crewgate.core.crossing import is_account
from crewgate.core.evidence import Seen
from crewgate.core.grant import Grant
from crewgate.core.ladder import Cause, IllegalStepError, Rung
from crewgate.core.policy import Tool
from crewgate.core.scope import count_covered
from crewgate.core.steps import Saved, Standing, Step, strangers
from crewgate.errors import RefusedError

_SAID: Final = {
    Rung.OBSERVE: "is let go",
    Rung.THROTTLE: "is throttled",
    Rung.QUARANTINE: "is quarantined",
}
_DONE: Final = {
    Cause.CALM: "it has been calm",
    Cause.SET: "its owner says so",
    Cause.LIFT: "its owner says so",
}


class Watching:
    """What the agent asks before it opens a branch, and what a person may set and lift."""

    def __init__(
        self,
        journal: Journal[Saved],
        registry: Registry,
        table: OwnedTable,
        *,
        say: Callable[[str], None],
        sink: Callable[[Iterable[record.Record]], None],
        wall_ns: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._table = table
        self._say = say
        self._sink = sink
        self._wall_ns = wall_ns
        self._watch = Watch()
        self.abroad = Quarantines()
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

    def admits(self, grant: Grant, clocks: Clocks) -> bool:
        """Whether a grant may be used, which is counted if it is seen for the first time.

        What crosses to another crew on a certificate was granted by nobody: it is not counted.
        """
        if is_account(grant.crew):
            return True
        self._heed(grant.crew, grant.orchestrator, clocks)
        entry = self._registry.get(grant.branch_key)
        if entry is not None and not _is_news(grant, entry, clocks.wall):
            return True
        answer = self._watch.see(self._seen(grant, entry, clocks), _seconds(clocks))
        for step in answer.steps:
            self._tell(step, grant.branch)
        return answer.admitted

    def _heed(self, crew: str, orchestrator: str, clocks: Clocks) -> None:
        """Do what a person on another machine has said of an orchestrator."""
        word = self.abroad.take(crew, orchestrator)
        if word is None:
            return
        # What the watch holds it may hold since an old word was done, and a person said no more.
        is_old = not word.is_held and not word.is_news
        if is_old and self._watch.by(crew, orchestrator) == "watch":
            return
        with suppress(IllegalStepError):  # it is so already
            if word.is_held:
                self._tell(self._watch.quarantine(crew, orchestrator, _seconds(clocks)))
            else:
                self._tell(self._watch.lift(crew, orchestrator))

    def look(self, clocks: Clocks) -> None:
        """Once a second: let go who has calmed down, keep what was learnt."""
        steps, changed = self._watch.look(_seconds(clocks))
        for saved in changed:
            self._journal.append(saved)
        for step in steps:
            self._tell(step)

    def set(self, crew: str, orchestrator: str, clocks: Clocks) -> Standing:
        """A person quarantines an orchestrator, seen or unseen; RefusedError."""
        self.check(crew, orchestrator)
        try:
            step = self._watch.quarantine(crew, orchestrator, _seconds(clocks))
        except IllegalStepError as error:
            raise RefusedError(f"{orchestrator}: {error}") from error
        return self._tell(step)

    def lift(self, crew: str, orchestrator: str) -> Standing:
        """A person lets an orchestrator go; RefusedError if nothing holds it."""
        self.check(crew, orchestrator)
        try:
            step = self._watch.lift(crew, orchestrator)
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

    def _tell(self, step: Step, branch: str = "") -> Standing:
        """Write a step down, and say it aloud where the orchestrator moved."""
        found = step.finding
        self._sink(
            [
                record.Watch(
                    time=record.when(self._wall_ns()),
                    crew=step.crew,
                    orchestrator=step.orchestrator,
                    step=step.cause.value,
                    was=step.was.value,
                    rung=step.rung.value,
                    in_force=step.in_force.value,
                    by=step.by,
                    branch=branch,
                    measure=found.measure.value if found else "",
                    value=found.value if found else 0,
                    limit=found.limit if found else 0,
                    usual=found.usual if found else None,
                )
            ]
        )
        if step.was is not step.rung or step.by == "owner":
            self._journal.append(self._watch.saved(step.crew, step.orchestrator))
            self.is_dirty = True
            self._say(said(step))
        return Standing(step.crew, step.orchestrator, step.rung, step.in_force, step.by)


def said(step: Step) -> str:
    """One sentence for people."""
    who, what, found = f"minting of {step.orchestrator}", _SAID[step.rung], step.finding
    if step.in_force is not step.rung:
        mode = step.in_force.value
        what = f"{what.replace('is', 'would be', 1)}, were its crew not watched in mode {mode}"
    if found is None:
        return f"{who} {what}: {_DONE[step.cause]}"
    bound = "its ceiling" if found.usual is None else f"{found.usual} is usual, its limit"
    return f"{who} {what}: {found.measure.value} {found.value}; {bound} {found.limit}"


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
