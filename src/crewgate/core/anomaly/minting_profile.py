"""How one orchestrator mints: its minute, its live branches, its baselines and its place.

Decides what a grant adds to each measure and whether that is out of bounds. Everything it keeps is
bounded: a value a measure, a baseline a measure, and as many branches as `BranchQuota` has for it.
Knows no other orchestrator; times are seconds of a clock that nobody sets, so a wall clock that is
stepped means nothing here.
"""

from collections import Counter
from collections.abc import Iterable

from crewgate import limits
from crewgate.core.anomaly.baseline import Baseline
from crewgate.core.anomaly.enforcement import EnforcementLevel, EnforcementState
from crewgate.core.anomaly.types import (
    SCALES,
    AnomalyFinding,
    MintingMeasure,
    ObservedGrant,
    WatchRules,
)

_MINUTE = 60
_HOUR = 3600
_NEAR = 1e-9  # doublings: as near as this a value is at the limit and not above it


class BranchQuota:
    """How many branches may be remembered, in all and of one crew, which has half at most."""

    def __init__(self, most: int = limits.watch_branches_max) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<BranchQuota {self._taken.total()} of {self._most}>"

    def take(self, crew: str) -> bool:
        """A place for one branch more; False if there is none."""
        if self._taken[crew] >= self._most // 2 or self._taken.total() >= self._most:
            return False
        self._taken[crew] += 1
        return True

    def free(self, crew: str, count: int) -> None:
        """Branches that are forgotten; a crew without any leaves no trace."""
        self._taken[crew] -= count
        if not self._taken[crew]:
            del self._taken[crew]


class ObservedBranch:
    """What is remembered of one branch: its newest grant, and how often it was extended."""

    __slots__ = ("extensions", "hour", "iat", "paced", "parent", "passed", "until")

    def __init__(self, parent: bytes, iat: int, until: float) -> None:
        self.parent = parent
        self.iat = iat
        self.until = until  # the newest grant's end
        self.extensions = 0
        self.hour = -1  # in which `paced` extensions were seen
        self.paced = 0
        self.passed = False  # it was let through while its orchestrator was throttled


class MintingProfile:
    """One orchestrator's. `kid` is the key of its newest grant."""

    __slots__ = (
        "_admitted",
        "_baselines",
        "_branches",
        "_children",
        "_credits",
        "_crew",
        "_folded",
        "_hour",
        "_live",
        "_minute",
        "_room",
        "_values",
        "is_struck",
        "kid",
        "learnt",
        "place",
        "saved",
        "seen",
    )

    def __init__(self, crew: str, room: BranchQuota, now: float) -> None:
        self._crew = crew
        self._room = room
        self._branches: dict[bytes, ObservedBranch] = {}
        self._children: Counter[bytes] = Counter()  # live ones
        self._live = 0
        self._minute = int(now // _MINUTE)
        self._values: dict[MintingMeasure, int] = {}  # of this minute
        self._admitted = 0  # new branches in this minute
        self._hour, self._credits = int(now // _HOUR), 0
        self._baselines: dict[MintingMeasure, Baseline] = {}
        self._folded = now
        self.is_struck = False  # this minute
        self.kid = ""
        self.learnt = True  # since it was last saved; that it is there is something
        self.place = EnforcementState()
        self.saved = now - limits.watch_save_seconds
        self.seen = now

    def __repr__(self) -> str:
        return f"<MintingProfile {self.place!r} branches={len(self._branches)}>"

    def note(self, seen: ObservedGrant, now: float, rules: WatchRules) -> AnomalyFinding | None:
        """Count a grant; the worst that is out of bounds, once a minute.

        A ceiling that is broken counts as worse than a baseline.
        """
        self.start_minute(now)
        self.seen, self.kid = now, seen.kid
        if not (values := self._added(seen, now)):
            return None
        for measure, value in values.items():
            self._values[measure] = max(value, self._values.get(measure, 0))
        if self.is_struck:
            return None
        found = self._over(values, rules) or self._unusual(values, rules)
        self.is_struck = found is not None
        return found

    def admits(self, seen: ObservedGrant, rules: WatchRules) -> bool:
        """Whether the grant that was just noted may be used, as this orchestrator stands."""
        level = self.place.in_force(rules.mode)
        if level is EnforcementLevel.QUARANTINE:
            return not (seen.is_new or seen.grows)
        if seen.is_old or not seen.is_new:
            return True
        branch = self._branches.get(seen.branch)
        if branch is not None and branch.passed:
            return True
        if level is EnforcementLevel.THROTTLE and self._admitted >= self.allowance(rules):
            return False
        self._admitted += 1
        if branch is not None:
            branch.passed = True
        return True

    def allowance(self, rules: WatchRules) -> int:
        """New branches a minute while it is throttled: what is usual for it, at least one."""
        baseline = self._baselines.get(MintingMeasure.MINTS)
        usual = 1
        if baseline is not None and baseline.is_warm:
            usual = max(1, SCALES[MintingMeasure.MINTS].back(baseline.mean))
        most = rules.mints_per_minute
        return usual if most is None else min(usual, most)

    def start_minute(self, now: float) -> None:
        """Begin the minute that `now` is in: learn from the last one, forget branches."""
        minute = int(now // _MINUTE)
        if minute == self._minute:
            return
        if self.place.level is EnforcementLevel.OBSERVE and not self.is_struck:
            self._learn(now)
        self._minute = minute
        self._values.clear()
        self._admitted, self.is_struck = 0, False
        self._sweep(now)

    def reset(self) -> None:
        """A person vouches for what it does now: that is learnt afresh."""
        self._baselines.clear()
        self._values.clear()
        self._credits = 0
        self.learnt = True

    def export_baselines(self) -> dict[str, tuple[float, float, int]]:
        """The baselines, to be kept: mean, deviation, minutes, by the measure's word."""
        return {
            measure.value: (each.mean, each.deviation, each.minutes)
            for measure, each in self._baselines.items()
        }

    def teach(self, lessons: Iterable[tuple[str, tuple[float, float, int]]]) -> None:
        """Take up baselines that were kept; a word of another version is passed over."""
        known = {measure.value: measure for measure in SCALES}
        for word, (mean, deviation, minutes) in lessons:
            if word in known:
                self._baselines[known[word]] = Baseline(mean, deviation, minutes)

    def clear(self) -> None:
        """It is forgotten: its branches' places are free."""
        self._room.free(self._crew, len(self._branches))
        self._branches.clear()

    def _added(self, seen: ObservedGrant, now: float) -> dict[MintingMeasure, int]:
        """What each measure is with this grant; nothing for one that was counted before."""
        branch = self._branches.get(seen.branch)
        if branch is not None and seen.iat <= branch.iat:
            return {}
        values = {
            MintingMeasure.DEPTH: seen.depth,
            MintingMeasure.PATTERNS: seen.patterns,
            MintingMeasure.TOOLS: seen.tools,
        }
        if branch is not None and seen.is_new and now < branch.until:
            # It was refused, or is not used yet, and has been refreshed meanwhile.
            branch.iat, branch.until = seen.iat, max(branch.until, now + seen.seconds)
            return values
        if branch is None:
            branch = self._enter(seen, now)
        if branch is None:  # what cannot be remembered would be counted as often as it is tried
            return values
        self._count_credits(seen, now, values)
        if seen.is_new:
            self._count_mint(seen, values)
        else:
            _count_extension(branch, now, values)
        branch.iat, branch.until = seen.iat, max(branch.until, now + seen.seconds)
        return values

    def _enter(self, seen: ObservedGrant, now: float) -> ObservedBranch | None:
        """Remember a branch if there is room; the oldest of too many is forgotten first."""
        if len(self._branches) >= limits.watch_branches_each_max:
            del self._branches[next(iter(self._branches))]
            self._room.free(self._crew, 1)
        if not self._room.take(self._crew):
            return None
        branch = self._branches[seen.branch] = ObservedBranch(seen.parent, seen.iat, now)
        return branch

    def _count_mint(self, seen: ObservedGrant, values: dict[MintingMeasure, int]) -> None:
        if not seen.is_old:
            values[MintingMeasure.MINTS] = self._values.get(MintingMeasure.MINTS, 0) + 1
        self._live += 1
        values[MintingMeasure.LIVE] = self._live
        if seen.parent:
            self._children[seen.parent] += 1
            values[MintingMeasure.FAN_OUT] = self._children[seen.parent]

    def _count_credits(
        self, seen: ObservedGrant, now: float, values: dict[MintingMeasure, int]
    ) -> None:
        if seen.is_old or not seen.credits:
            return
        if int(now // _HOUR) != self._hour:
            self._hour, self._credits = int(now // _HOUR), 0
        self._credits += seen.credits
        values[MintingMeasure.CREDITS] = self._values.get(MintingMeasure.CREDITS, 0) + seen.credits
        values[MintingMeasure.CREDITS_HOUR] = self._credits

    def _over(self, values: dict[MintingMeasure, int], rules: WatchRules) -> AnomalyFinding | None:
        for measure, value in values.items():
            ceiling = rules.ceiling(measure)
            if ceiling is not None and value > ceiling:
                return AnomalyFinding(measure, value, ceiling)
        return None

    def _unusual(
        self, values: dict[MintingMeasure, int], rules: WatchRules
    ) -> AnomalyFinding | None:
        worst, found = _NEAR, None
        for measure, value in values.items():
            baseline, scale = self._baselines.get(measure), SCALES.get(measure)
            if baseline is None or scale is None or value <= scale.least:
                continue
            limit = baseline.limit(rules.sensitivity)
            if limit is not None and scale.of(value) - limit > worst:
                worst = scale.of(value) - limit
                most = max(scale.least, scale.back(limit))
                found = AnomalyFinding(measure, value, most, scale.back(baseline.mean))
        return found

    def _learn(self, now: float) -> None:
        """Of a minute in which nothing happened, nothing: a quiet night makes no noisy morning."""
        if not self._values:
            return
        for measure, value in self._values.items():
            if measure in SCALES:
                baseline = self._baselines.setdefault(measure, Baseline())
                baseline.fold(SCALES[measure].of(value), now - self._folded)
        self._folded = now
        self.learnt = True

    def _sweep(self, now: float) -> None:
        """Forget branches that ended long ago, and count those that live."""
        if not self._branches:
            return
        oldest = now - limits.watch_branch_seconds
        gone = [key for key, branch in self._branches.items() if branch.until <= oldest]
        for key in gone:
            del self._branches[key]
        if gone:
            self._room.free(self._crew, len(gone))
        live = [branch for branch in self._branches.values() if branch.until > now]
        self._live = len(live)
        self._children = Counter(branch.parent for branch in live if branch.parent)


def _count_extension(branch: ObservedBranch, now: float, values: dict[MintingMeasure, int]) -> None:
    hour = int(now // _HOUR)
    if branch.hour != hour:
        branch.hour, branch.paced = hour, 0
    branch.paced += 1
    branch.extensions += 1
    values[MintingMeasure.PACE] = branch.paced
    values[MintingMeasure.EXTENSIONS] = branch.extensions
