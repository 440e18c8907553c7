"""The minting watch: of every grant that is seen, whether it may be used, and what that moved.

Keeps one conduct for each orchestrator, within fixed bounds, and one account a crew, `CREW/*`, for
strangers. Two ways round a quarantine are closed there, both open to whoever holds a crew's key and
may write any `client_id`: the first grant of every name counts for `CREW/*`, so that inventing
names is itself a rate with a baseline and a ceiling; and while an orchestrator is quarantined, no
name that was never seen before is admitted under the key that it last minted with. Names for which
there is no room share `CREW/*` altogether.

Pure: time comes in as seconds of a clock that nobody sets. Knows no tokens, tables or files.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import msgspec

from crewgate import limits
from crewgate.core.anomaly.enforcement import (
    By,
    EnforcementLevel,
    EnforcementState,
    IllegalStepError,
    NoRoomError,
    QuarantineOrder,
    TransitionCause,
)
from crewgate.core.anomaly.minting_profile import BranchQuota, MintingProfile
from crewgate.core.anomaly.quarantined_keys import OrchestratorName, QuarantinedKeys
from crewgate.core.anomaly.transitions import (
    GrantAdmission,
    ProfileSnapshot,
    Transition,
    WatchState,
    newcomers_account,
)
from crewgate.core.anomaly.types import AnomalyFinding, ObservedGrant, WatchRules

_RULES = WatchRules()
# Of a newcomer's first grant, only that it is there counts for its crew's strangers.
_BARE = {"parent": b"", "depth": 0, "patterns": 0, "tools": 0, "credits": 0}


class AnomalyDetector:
    """All orchestrators of one machine."""

    def __init__(
        self,
        names_max: int = limits.watch_orchestrators_max,
        branches_max: int = limits.watch_branches_max,
    ) -> None:
        self._names_max = names_max
        self._room = BranchQuota(branches_max)
        self._rules: Mapping[str, WatchRules] = {}
        self._crowds: Mapping[str, WatchRules] = {}  # the rules of strangers, by their name
        self._profiles: OrderedDict[OrchestratorName, MintingProfile] = (
            OrderedDict()
        )  # the longest unseen first
        self._round: deque[tuple[OrchestratorName, MintingProfile]] = (
            deque()
        )  # as they are looked at
        self._count: defaultdict[str, int] = defaultdict(int)  # names of a crew
        self._raised: OrderedDict[OrchestratorName, MintingProfile] = OrderedDict()
        self._aliases = QuarantinedKeys()

    def __repr__(self) -> str:
        raised = len(self._raised)
        return f"<AnomalyDetector of {len(self._profiles)}, raised {raised}, {self._room!r}>"

    def __len__(self) -> int:
        return len(self._profiles)

    def load(self, rules: Mapping[str, WatchRules]) -> None:
        """Judge crews by these rules from now on."""
        self._rules = dict(rules)
        self._crowds = {
            newcomers_account(crew): msgspec.structs.replace(
                each, mints_per_minute=each.newcomers_per_minute
            )
            for crew, each in rules.items()
        }
        for name, profile in self._raised.items():
            if profile.place.in_force(self._of(name).mode) is EnforcementLevel.QUARANTINE:
                self._hold(name, profile)
            else:
                self._aliases.release(name)

    def observe(self, seen: ObservedGrant, now: float) -> GrantAdmission:
        """Count a grant, and judge whether it may be used."""
        name = seen.crew, seen.orchestrator
        steps: list[Transition] = []
        profile = self._profiles.get(name)
        if profile is None:
            # A new name under the key of one who is quarantined would be an alias.
            if seen.is_new and (seen.crew, seen.kid) in self._aliases:
                return GrantAdmission(admitted=False)
            has_room = self._has_room(seen.crew, now)
            # Only a grant that was minted just now can be a name's first one.
            if (seen.is_new and not seen.is_old) or not has_room:
                admitted = self._count_newcomer(seen, now, steps, is_all=not has_room)
                if not (admitted and has_room):
                    return GrantAdmission(admitted, tuple(steps))
            profile = self._enter(name, now)
            if profile is None:  # strangers' account has taken the last place
                return GrantAdmission(admitted=True, steps=tuple(steps))
        self._profiles.move_to_end(name)
        self._note(name, profile, seen, now, steps)
        self._hold(name, profile)
        return GrantAdmission(profile.admits(seen, self._of(name)), tuple(steps))

    def poll(self, now: float, wall: int) -> tuple[list[Transition], list[ProfileSnapshot]]:
        """Look at the next names: which quarantines end, and which baselines changed.

        `wall` is as in `EnforcementState.look`. To be called about once a second; with very many
        names it takes minutes to see them all.
        """
        raised = list(islice(self._raised, limits.watch_look_names))
        steps = [step for name in raised if (step := self._calm(name, now, wall))]
        changed = []
        for _ in range(min(limits.watch_look_names, len(self._round))):
            name, profile = self._round.popleft()
            if self._profiles.get(name) is not profile:  # forgotten meanwhile
                continue
            self._round.append((name, profile))
            profile.start_minute(now)
            if profile.learnt and now - profile.saved >= limits.watch_save_seconds:
                profile.learnt, profile.saved = False, now
                changed.append(_saved(name, profile))
        return steps, changed

    def quarantine(
        self, crew: str, orchestrator: str, now: float, wall: int, seconds: int = 0
    ) -> Transition:
        """A person sets it, for so long or as long as its crew's are; NoRoomError."""
        name = crew, orchestrator
        profile = self._must_enter(name, now)
        was = profile.place.level
        profile.place.set(wall, wall + (seconds or self._of(name).quarantine_seconds))
        return self._moved(name, profile, was, TransitionCause.SET, by="owner")

    def lift(self, crew: str, orchestrator: str, wall: int) -> Transition:
        """A person lets it go, and what it does from now on is learnt; IllegalStepError."""
        profile = self._profiles.get((crew, orchestrator))
        if profile is None:
            raise IllegalStepError("nothing holds it: it was never seen here")
        was = profile.place.level
        profile.place.lift(wall)
        profile.reset()
        return self._moved((crew, orchestrator), profile, was, TransitionCause.LIFT, by="owner")

    def apply_remote(
        self, crew: str, orchestrator: str, now: float, word: QuarantineOrder, *, is_news: bool
    ) -> Transition | None:
        """What was said on another machine, if that moves anything; NoRoomError.

        What is throttled may be so since an old word was done, and a person said no more. Whom a
        person lets go is remembered too: an older word on it may be heard after that.
        """
        name = crew, orchestrator
        profile = self._must_enter(name, now) if word.by else self._enter(name, now)
        if profile is None or (
            profile.place.level is EnforcementLevel.THROTTLE and not (word.by or is_news)
        ):
            return None
        was = profile.place.level
        cause = profile.place.apply_remote(word)
        if cause is None:
            return None
        if cause is TransitionCause.LIFT:
            profile.reset()
        return self._moved(name, profile, was, cause, by=word.by or "owner")

    def state(self, crew: str, orchestrator: str) -> WatchState:
        """Where one stands; KeyError for one that is not known."""
        name = crew, orchestrator
        place = self._profiles[name].place
        in_force = place.in_force(self._of(name).mode)
        return WatchState(*name, place.level, in_force, place.by, place.held.until, place.owner)

    def states(self) -> list[WatchState]:
        """Who stands above `observe`, by name."""
        return [self.state(*name) for name in sorted(self._raised)]

    def announced_order(self, crew: str, orchestrator: str) -> QuarantineOrder | None:
        """What others are to hear of one, and have heard by now; None if that is nothing."""
        profile = self._raised.get((crew, orchestrator))
        if profile is None or not profile.place.is_untold:
            return None
        profile.place.is_untold = False
        return profile.place.watch

    def saved(self, crew: str, orchestrator: str) -> ProfileSnapshot:
        """What is to be kept of one; KeyError for one that is not known."""
        return _saved((crew, orchestrator), self._profiles[crew, orchestrator])

    def __iter__(self) -> Iterator[ProfileSnapshot]:
        """What is to be kept of all."""
        return (_saved(name, profile) for name, profile in list(self._profiles.items()))

    def restore(self, kept: Iterable[ProfileSnapshot], now: float) -> None:
        """Begin with what was kept, oldest first. Calm has to be shown from now on."""
        newest = {(each.crew, each.orchestrator): each for each in kept}
        # Those that are held come first: they must find room.
        for name, each in sorted(
            newest.items(), key=lambda item: item[1].level is EnforcementLevel.OBSERVE
        ):
            profile = self._enter(name, now)
            if profile is None:
                continue
            profile.kid = each.kid
            profile.place = place = EnforcementState(each.level, each.by, now)
            place.owner, place.watch, place.is_untold = each.owner, each.watch, each.is_untold
            profile.teach(each.lessons.items())
            if each.level is not EnforcementLevel.OBSERVE:
                self._raised[name] = profile
                self._hold(name, profile)

    def _count_newcomer(
        self, seen: ObservedGrant, now: float, steps: list[Transition], *, is_all: bool
    ) -> bool:
        """Count a stranger's grant for its crew: that it is there, or all of it; is it admitted?"""
        name = (seen.crew, newcomers_account(seen.crew))
        crowd = self._profiles.get(name) or self._make(name, now)
        self._profiles.move_to_end(name)
        if not is_all:
            seen = msgspec.structs.replace(seen, **_BARE)
        self._note(name, crowd, seen, now, steps)
        return crowd.admits(seen, self._of(name))

    def _of(self, name: OrchestratorName) -> WatchRules:
        return self._crowds.get(name[1]) or self._rules.get(name[0], _RULES)

    def _note(
        self,
        name: OrchestratorName,
        profile: MintingProfile,
        seen: ObservedGrant,
        now: float,
        steps: list[Transition],
    ) -> None:
        rules = self._of(name)
        found = profile.note(seen, now, rules)
        if found is None:
            return
        was = profile.place.level
        cause = profile.place.strike(now, rules.strikes, rules.calm_seconds)
        if (
            profile.place.level is EnforcementLevel.QUARANTINE
            and was is not EnforcementLevel.QUARANTINE
        ):
            is_untold = profile.place.in_force(rules.mode) is EnforcementLevel.QUARANTINE
            profile.place.hold(seen.at, seen.at + rules.quarantine_seconds, is_untold=is_untold)
        steps.append(self._moved(name, profile, was, cause, finding=found, branch=seen.branch))

    def _calm(self, name: OrchestratorName, now: float, wall: int) -> Transition | None:
        rules, profile = self._of(name), self._raised[name]
        was = profile.place.level
        self._raised.move_to_end(name)
        cause = profile.place.step_down_if_due(now, wall, rules.mode, rules.calm_seconds)
        return self._moved(name, profile, was, cause) if cause else None

    def _moved(
        self,
        name: OrchestratorName,
        profile: MintingProfile,
        was: EnforcementLevel,
        cause: TransitionCause,
        *,
        by: By = "",
        finding: AnomalyFinding | None = None,
        branch: bytes = b"",
    ) -> Transition:
        place = profile.place
        if place.level is EnforcementLevel.OBSERVE:
            self._raised.pop(name, None)
            self._aliases.release(name)
        else:
            self._raised[name] = profile
            self._hold(name, profile)
        in_force = place.in_force(self._of(name).mode)
        by = by or place.by
        return Transition(name[0], name[1], was, place.level, in_force, cause, by, finding, branch)

    def _hold(self, name: OrchestratorName, profile: MintingProfile) -> None:
        """Note the key of one who is quarantined; strangers may have minted with anybody's."""
        is_one = name[1] != newcomers_account(name[0])
        if is_one and profile.place.in_force(self._of(name).mode) is EnforcementLevel.QUARANTINE:
            self._aliases.hold(name, profile.kid)

    def _enter(self, name: OrchestratorName, now: float) -> MintingProfile | None:
        """The conduct of a name, made if there is room; a crew's strangers need none."""
        found = self._profiles.get(name)
        if found is None and (
            name[1] == newcomers_account(name[0]) or self._has_room(name[0], now)
        ):
            found = self._make(name, now)
        return found

    def _must_enter(self, name: OrchestratorName, now: float) -> MintingProfile:
        profile = self._enter(name, now)
        if profile is None:
            raise NoRoomError(f"{self._names_max} orchestrators are watched: there is no room")
        return profile

    def _make(self, name: OrchestratorName, now: float) -> MintingProfile:
        profile = self._profiles[name] = MintingProfile(name[0], self._room, now)
        self._round.append((name, profile))
        self._count[name[0]] += 1
        return profile

    def _has_room(self, crew: str, now: float) -> bool:
        """Half of the room at most is one crew's; who was silent for a day makes room."""
        if self._count[crew] >= self._names_max // 2:
            return self._forget(now, crew)
        return len(self._profiles) < self._names_max or self._forget(now, None)

    def _forget(self, now: float, crew: str | None) -> bool:
        for name, profile in islice(self._profiles.items(), limits.watch_look_names):
            if now - profile.seen < limits.watch_memory_seconds:
                return False
            if name not in self._raised and crew in {None, name[0]}:
                profile.clear()
                del self._profiles[name]
                self._count[name[0]] -= 1
                return True
        return False


def _saved(name: OrchestratorName, profile: MintingProfile) -> ProfileSnapshot:
    place = profile.place
    return ProfileSnapshot(
        *name, place.level, place.by, profile.kid, profile.export_baselines(),
        place.owner, place.watch, place.is_untold,
    )  # fmt: skip
