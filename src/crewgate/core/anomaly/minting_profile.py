"""Counts what one orchestrator mints, and compares it with its baselines and ceilings.

A profile has the counts of the current minute, the known branches, the baselines and the
enforcement state. Its memory is bounded: one count and one baseline for each measure, and the
branches for which the watch has places. Times are seconds of a monotonic clock, so a change of
the wall clock has no effect.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

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
from crewgate.core.fair_share_limiter import FairShareLimiter

_MINUTE = 60
_HOUR = 3600
# In doublings: a value this close to the limit is not above it.
_TOLERANCE = 1e-9


@dataclass(slots=True, eq=False)
class KnownBranch:
    """One known branch of an orchestrator.

    `iat` is of its newest grant, which expires at `until`. It was extended `extensions` times, of
    which `paced` were in the hour number `hour`. `passed`: it was admitted while its orchestrator
    was throttled.
    """

    parent: bytes
    iat: int
    until: float
    extensions: int = 0
    hour: int = -1
    paced: int = 0
    passed: bool = False


class MintingProfile:
    """What the watch knows of one orchestrator.

    `kid` is the key of its newest grant, which was seen at `seen_at`. `is_struck`: this minute
    already counts as a strike. `is_changed`: its baselines have changed since `saved_at`.
    """

    def __init__(self, crew: str, quota: FairShareLimiter, now: float) -> None:
        self._crew = crew
        self._quota = quota
        self._branches: dict[bytes, KnownBranch] = {}
        # The live children of each branch.
        self._children: Counter[bytes] = Counter()
        self._live = 0
        self._minute = int(now // _MINUTE)
        # The highest value of each measure, and the admitted new branches, in this minute.
        self._values: dict[MintingMeasure, int] = {}
        self._admitted = 0
        self._hour, self._credits = int(now // _HOUR), 0
        self._baselines: dict[MintingMeasure, Baseline] = {}
        self._learned_at = now
        self.is_struck = False
        self.kid = ""
        # True, because the journal does not have the new profile yet.
        self.is_changed = True
        self.state = EnforcementState()
        self.saved_at = now - limits.watch_save_seconds
        self.seen_at = now

    def note(self, grant: ObservedGrant, now: float, rules: WatchRules) -> AnomalyFinding | None:
        """Count a grant; return the worst measure over its limit, at most once a minute.

        A value over a ceiling is worse than an unusual one.
        """
        self.start_minute(now)
        self.seen_at, self.kid = now, grant.kid
        if not (values := self._count(grant, now)):
            return None
        for measure, value in values.items():
            self._values[measure] = max(value, self._values.get(measure, 0))
        if self.is_struck:
            return None
        found = self._over_ceiling(values, rules) or self._unusual(values, rules)
        self.is_struck = found is not None
        return found

    def admits(self, grant: ObservedGrant, rules: WatchRules) -> bool:
        """Return whether the grant that `note` has just counted may be used."""
        level = self.state.in_force(rules.mode)
        if level is EnforcementLevel.QUARANTINE:
            return not (grant.is_new or grant.grows)
        if grant.is_old or not grant.is_new:
            return True
        branch = self._branches.get(grant.branch)
        if branch is not None and branch.passed:
            return True
        if level is EnforcementLevel.THROTTLE and self._admitted >= self.allowance(rules):
            return False
        self._admitted += 1
        if branch is not None:
            branch.passed = True
        return True

    def allowance(self, rules: WatchRules) -> int:
        """Return how many new branches a minute a throttle admits: the usual number, at least 1."""
        baseline = self._baselines.get(MintingMeasure.MINTS)
        usual = 1
        if baseline is not None and baseline.is_warm:
            usual = max(1, SCALES[MintingMeasure.MINTS].back(baseline.mean))
        ceiling = rules.mints_per_minute
        return usual if ceiling is None else min(usual, ceiling)

    def start_minute(self, now: float) -> None:
        """If `now` is in a new minute, learn from the last one, and forget ended branches."""
        minute = int(now // _MINUTE)
        if minute == self._minute:
            return
        if self.state.level is EnforcementLevel.OBSERVE and not self.is_struck:
            self._learn(now)
        self._minute = minute
        self._values.clear()
        self._admitted, self.is_struck = 0, False
        self._sweep(now)

    def reset(self) -> None:
        """Forget the baselines: a person accepts what the orchestrator does now as usual."""
        self._baselines.clear()
        self._values.clear()
        self._credits = 0
        self.is_changed = True

    def export_baselines(self) -> dict[str, tuple[float, float, int]]:
        """Return mean, deviation and minutes of each baseline, by the measure's name."""
        return {
            measure.value: (each.mean, each.deviation, each.minutes)
            for measure, each in self._baselines.items()
        }

    def teach(self, lessons: Iterable[tuple[str, tuple[float, float, int]]]) -> None:
        """Load exported baselines; ignore measures of another version."""
        known = {measure.value: measure for measure in SCALES}
        for name, (mean, deviation, minutes) in lessons:
            if name in known:
                self._baselines[known[name]] = Baseline(mean, deviation, minutes)

    def clear(self) -> None:
        """Give back the places of its branches, before the profile is dropped."""
        self._quota.free(len(self._branches), self._crew)
        self._branches.clear()

    def _count(self, grant: ObservedGrant, now: float) -> dict[MintingMeasure, int]:
        """Return the new value of each measure; empty for a grant that was counted before."""
        branch = self._branches.get(grant.branch)
        if branch is not None and grant.iat <= branch.iat:
            return {}
        values = {
            MintingMeasure.DEPTH: grant.depth,
            MintingMeasure.PATTERNS: grant.patterns,
            MintingMeasure.TOOLS: grant.tools,
        }
        if branch is not None and grant.is_new and now < branch.until:
            # It was refused, or is not used yet, and has been refreshed meanwhile.
            branch.iat, branch.until = grant.iat, max(branch.until, now + grant.seconds)
            return values
        if branch is None:
            branch = self._add_branch(grant, now)
        # Without a place for the branch, each retry would count again, so none counts.
        if branch is None:
            return values
        self._count_credits(grant, now, values)
        if grant.is_new:
            self._count_mint(grant, values)
        else:
            _count_extension(branch, now, values)
        branch.iat, branch.until = grant.iat, max(branch.until, now + grant.seconds)
        return values

    def _add_branch(self, grant: ObservedGrant, now: float) -> KnownBranch | None:
        """Add a branch, in the place of the oldest one if there are too many; None if no place."""
        if len(self._branches) >= limits.watch_branches_each_max:
            del self._branches[next(iter(self._branches))]
            self._quota.free(1, self._crew)
        if not self._quota.take(1, self._crew):
            return None
        branch = self._branches[grant.branch] = KnownBranch(grant.parent, grant.iat, now)
        return branch

    def _count_mint(self, grant: ObservedGrant, values: dict[MintingMeasure, int]) -> None:
        if not grant.is_old:
            values[MintingMeasure.MINTS] = self._values.get(MintingMeasure.MINTS, 0) + 1
        self._live += 1
        values[MintingMeasure.LIVE] = self._live
        if grant.parent:
            self._children[grant.parent] += 1
            values[MintingMeasure.FAN_OUT] = self._children[grant.parent]

    def _count_credits(
        self, grant: ObservedGrant, now: float, values: dict[MintingMeasure, int]
    ) -> None:
        if grant.is_old or not grant.credits:
            return
        if int(now // _HOUR) != self._hour:
            self._hour, self._credits = int(now // _HOUR), 0
        self._credits += grant.credits
        values[MintingMeasure.CREDITS] = self._values.get(MintingMeasure.CREDITS, 0) + grant.credits
        values[MintingMeasure.CREDITS_HOUR] = self._credits

    def _over_ceiling(
        self, values: dict[MintingMeasure, int], rules: WatchRules
    ) -> AnomalyFinding | None:
        for measure, value in values.items():
            ceiling = rules.ceiling(measure)
            if ceiling is not None and value > ceiling:
                return AnomalyFinding(measure, value, ceiling)
        return None

    def _unusual(
        self, values: dict[MintingMeasure, int], rules: WatchRules
    ) -> AnomalyFinding | None:
        worst, found = _TOLERANCE, None
        for measure, value in values.items():
            baseline, scale = self._baselines.get(measure), SCALES.get(measure)
            if baseline is None or scale is None or value <= scale.least:
                continue
            limit = baseline.limit(rules.sensitivity)
            if limit is not None and scale.of(value) - limit > worst:
                worst = scale.of(value) - limit
                value_max = max(scale.least, scale.back(limit))
                found = AnomalyFinding(measure, value, value_max, scale.back(baseline.mean))
        return found

    def _learn(self, now: float) -> None:
        """Update the baselines, unless nothing happened: a quiet night must not lower them."""
        if not self._values:
            return
        for measure, value in self._values.items():
            if measure in SCALES:
                baseline = self._baselines.setdefault(measure, Baseline())
                baseline.fold(SCALES[measure].of(value), now - self._learned_at)
        self._learned_at = now
        self.is_changed = True

    def _sweep(self, now: float) -> None:
        """Forget branches that ended long ago, and count the live ones."""
        if not self._branches:
            return
        oldest = now - limits.watch_branch_seconds
        ended = [key for key, branch in self._branches.items() if branch.until <= oldest]
        for key in ended:
            del self._branches[key]
        if ended:
            self._quota.free(len(ended), self._crew)
        live = [branch for branch in self._branches.values() if branch.until > now]
        self._live = len(live)
        self._children = Counter(branch.parent for branch in live if branch.parent)


def _count_extension(branch: KnownBranch, now: float, values: dict[MintingMeasure, int]) -> None:
    hour = int(now // _HOUR)
    if branch.hour != hour:
        branch.hour, branch.paced = hour, 0
    branch.paced += 1
    branch.extensions += 1
    values[MintingMeasure.PACE] = branch.paced
    values[MintingMeasure.EXTENSIONS] = branch.extensions
