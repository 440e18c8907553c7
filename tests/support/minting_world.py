"""Grants as the minting watch is told of them, and a watch as slow and obvious as it can be."""

import math
from collections import Counter
from typing import Any

from crewgate import limits
from crewgate.core.anomaly import baseline as baseline_
from crewgate.core.anomaly.baseline import SensitivityLevel
from crewgate.core.anomaly.enforcement import TRANSITIONS, EnforcementLevel, TransitionCause
from crewgate.core.anomaly.types import SCALES, MintingMeasure, ObservedGrant, WatchRules

CREDIT = 1_000_000
WALL = 1_800_000_000  # the time of day at which all is seen, unless a test says another
MARGINS = {
    SensitivityLevel.LOW: (4, 6),
    SensitivityLevel.NORMAL: (3, 4),
    SensitivityLevel.HIGH: (2, 3),
}
WEIGHTS = {MintingMeasure.DEPTH: 0, MintingMeasure.PATTERNS: 2, MintingMeasure.TOOLS: 2}


def key(number: int) -> bytes:
    """The key of a numbered branch."""
    return number.to_bytes(16, "big")


def seen(number: int, parent: int | None = None, **changes: Any) -> ObservedGrant:
    """The first grant of a branch: a run of 10 credits, or a child one below `parent`."""
    told: dict[str, Any] = {
        "crew": "article",
        "orchestrator": "article/one",
        "kid": "k1",
        "branch": key(number),
        "parent": b"" if parent is None else key(parent),
        "depth": 0 if parent is None else 1,
        "patterns": 2,
        "tools": 3,
        "credits": 10 * CREDIT if parent is None else 0,
        "iat": 100,
        "seconds": 900.0,
        "is_new": True,
        "at": WALL,
    }
    return ObservedGrant(**{**told, **changes})


class Model:
    """One orchestrator, judged from its whole history at every grant; forgets nothing.

    Answers (admitted, level after the grant, measure of the finding or None).
    """

    def __init__(self, rules: WatchRules) -> None:
        self.rules = rules
        self.level, self.by, self.until = EnforcementLevel.OBSERVE, "", 0
        self.last = 0.0  # strike, or the beginning
        self.told = 0  # times that others have said something
        self.struck: list[float] = []  # since the last calm
        self.counted: list[
            tuple[int, int, MintingMeasure, int]
        ] = []  # minute, hour, measure, value
        self.grants: dict[bytes, list[tuple[int, float]]] = {}  # iat, end
        self.parents: dict[bytes, bytes] = {}
        self.extended: dict[bytes, list[int]] = {}  # hours
        self.passed: set[bytes] = set()
        self.admitted: list[int] = []  # minutes
        self.learnt: dict[MintingMeasure, tuple[float, float, int]] = {}
        self.teaching: dict[int, bool] = {}
        self.minute = -1
        self.folded = 0.0
        self.live: set[bytes] = set()

    def see(
        self, seen: ObservedGrant, now: float
    ) -> tuple[bool, EnforcementLevel, MintingMeasure | None]:
        self.turn(now)
        measure = self.strike(seen, now)
        return self.admits(seen), self.level, measure

    def turn(self, now: float) -> None:
        minute = int(now // 60)
        if minute == self.minute:
            return
        if self.level is EnforcementLevel.OBSERVE and self.teaching.get(self.minute, True):
            self.learn(now)
        self.minute = minute
        self.live = {branch for branch in self.grants if self.end(branch) > now}

    def end(self, branch: bytes) -> float:
        return max((end for _, end in self.grants[branch]), default=0.0)

    def learn(self, now: float) -> None:
        values = [(what, value) for at, _, what, value in self.counted if at == self.minute]
        for what in dict.fromkeys(what for what, _ in values):
            if what not in SCALES:
                continue
            place = self.place(what, max(value for each, value in values if each is what))
            mean, deviation, count = self.learnt.get(what, (0.0, 0.0, 0))
            off = place - mean
            if count < baseline_._WARM:
                count += 1
                spread = min(abs(off), 1) if count > 1 else 0
                self.learnt[what] = (
                    mean + off / count,
                    deviation + (spread - deviation) / count,
                    count,
                )
                continue
            reach = max(deviation, 0.25)
            most = min(now - self.folded, 3600) / 86_400
            step = min(max(off, -reach), reach) / 64
            mean += min(max(step, -most), most)
            self.learnt[what] = (mean, deviation + (min(abs(off), 1) - deviation) / 64, count)
        if values:
            self.folded = now

    def place(self, measure: MintingMeasure, value: int) -> float:
        weight = WEIGHTS.get(measure, 1)
        return weight * math.log2(1 + value) if weight else value

    def strike(self, seen: ObservedGrant, now: float) -> MintingMeasure | None:
        values = self.count(seen, now)
        if not self.teaching.get(self.minute, True):
            return None
        found = self.worst(values)
        if found is None:
            return None
        self.teaching[self.minute] = False
        if self.struck and now - self.struck[-1] >= self.rules.calm_seconds:
            self.struck = []
        self.struck.append(now)
        self.last = now
        out = len(self.struck) >= self.rules.strikes
        if out and self.level is not EnforcementLevel.QUARANTINE:
            self.until = seen.at + self.rules.quarantine_seconds
        self.level = TRANSITIONS[self.level, TransitionCause.OUT if out else TransitionCause.STRIKE]
        return found

    def count(self, seen: ObservedGrant, now: float) -> dict[MintingMeasure, int]:
        grants = self.grants.setdefault(seen.branch, [])
        if any(iat >= seen.iat for iat, _ in grants):
            return {}
        is_known, is_live = bool(grants), bool(grants) and self.end(seen.branch) > now
        grants.append((seen.iat, now + seen.seconds))
        values = {
            MintingMeasure.DEPTH: seen.depth,
            MintingMeasure.PATTERNS: seen.patterns,
            MintingMeasure.TOOLS: seen.tools,
        }
        if not (is_known and seen.is_new and is_live):
            if not is_known:
                self.parents[seen.branch] = seen.parent
            self.count_more(seen, now, values)
        self.counted += [(self.minute, int(now // 3600), *item) for item in values.items()]
        return values

    def count_more(
        self, seen: ObservedGrant, now: float, values: dict[MintingMeasure, int]
    ) -> None:
        hour = int(now // 3600)
        if seen.credits:
            values[MintingMeasure.CREDITS] = seen.credits + max(
                [v for at, _, what, v in self.counted if at == self.minute and what is M_CREDITS],
                default=0,
            )
            values[MintingMeasure.CREDITS_HOUR] = seen.credits + max(
                [v for _, at, what, v in self.counted if at == hour and what is M_HOUR], default=0
            )
        if seen.is_new:
            values[MintingMeasure.MINTS] = 1 + sum(
                at == self.minute and what is MintingMeasure.MINTS
                for at, _, what, _ in self.counted
            )
            self.live_count(seen, values)
        else:
            hours = self.extended.setdefault(seen.branch, [])
            hours.append(hour)
            values[MintingMeasure.PACE] = hours.count(hour)
            values[MintingMeasure.EXTENSIONS] = len(hours)

    def live_count(self, seen: ObservedGrant, values: dict[MintingMeasure, int]) -> None:
        mints = values[MintingMeasure.MINTS]
        values[MintingMeasure.LIVE] = len(self.live) + mints
        self.minted = getattr(self, "minted", [])
        self.minted.append((self.minute, seen.branch))
        if seen.parent:
            counts = Counter(self.parents[branch] for branch in self.live)
            counts.update(self.parents[b] for at, b in self.minted if at == self.minute)
            values[MintingMeasure.FAN_OUT] = counts[seen.parent]

    def worst(self, values: dict[MintingMeasure, int]) -> MintingMeasure | None:
        for measure, value in values.items():
            ceiling = self.rules.ceiling(measure)
            if ceiling is not None and value > ceiling:
                return measure
        least, deviations = MARGINS[self.rules.sensitivity]
        far: list[tuple[float, MintingMeasure]] = []
        for measure, value in values.items():
            mean, deviation, count = self.learnt.get(measure, (0.0, 0.0, 0))
            if measure not in SCALES or count < baseline_._WARM:
                continue
            if value > SCALES[measure].least:
                over = self.place(measure, value) - mean - max(least, deviations * deviation)
                if over > 1e-9:
                    far.append((over, measure))
        return max(far, key=lambda each: each[0])[1] if far else None

    def admits(self, seen: ObservedGrant) -> bool:
        order = list(EnforcementLevel)
        level = min(self.level, self.rules.mode, key=order.index)
        if self.by == "owner":
            level = self.level
        if level is EnforcementLevel.QUARANTINE:
            return not seen.is_new and not seen.grows
        if not seen.is_new or seen.branch in self.passed:
            return True
        if (
            level is EnforcementLevel.THROTTLE
            and self.admitted.count(self.minute) >= self.allowance()
        ):
            return False
        self.admitted.append(self.minute)
        self.passed.add(seen.branch)
        return True

    def allowance(self) -> int:
        mean, _, count = self.learnt.get(MintingMeasure.MINTS, (0.0, 0.0, 0))
        usual = int(2**mean * (1 + 1e-12)) - 1 if count >= baseline_._WARM else 1
        most = self.rules.mints_per_minute
        return min(max(1, usual), limits.table_branches_max if most is None else most)

    def look(self, now: float, wall: int) -> None:
        """As the watch looks: the minute turns first for who stands on `observe` alone."""
        held = self.level is EnforcementLevel.QUARANTINE and (
            self.by == "owner" or self.rules.mode is EnforcementLevel.QUARANTINE
        )
        if self.level is EnforcementLevel.QUARANTINE and wall >= self.until:
            self.level, self.by = EnforcementLevel.OBSERVE, ""
        elif not held and now - self.last >= self.rules.calm_seconds:
            self.level, self.struck = EnforcementLevel.OBSERVE, []
        self.turn(now)

    def lift(self) -> None:
        self.level, self.by, self.struck, self.learnt = EnforcementLevel.OBSERVE, "", [], {}
        self.counted = [
            each for each in self.counted if each[0] != self.minute and each[2] is not M_HOUR
        ]

    def set(self, until: int, by: str = "owner") -> None:
        self.level, self.by, self.until = EnforcementLevel.QUARANTINE, by, until


M_CREDITS, M_HOUR = MintingMeasure.CREDITS, MintingMeasure.CREDITS_HOUR
assert limits.watch_branch_seconds >= 900  # the model forgets no branch, so tests stay within it
