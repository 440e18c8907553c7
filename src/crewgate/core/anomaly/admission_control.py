"""Decides for each observed grant whether it may be used, and how enforcement changes.

It keeps a profile of each orchestrator, within fixed limits, and for each crew one account
`CREW/*` that counts newcomers: names that this machine has never seen. The holder of a crew's key
can write any `client_id`, so two ways around a quarantine are closed:

- The first grant of each new name counts for `CREW/*`, which has a baseline and a ceiling. So the
  invention of names is limited as well.
- While an orchestrator is quarantined, no newcomer is admitted under the key that the orchestrator
  used last.

Names without a place share `CREW/*`. Times are seconds of a monotonic clock, which the caller
passes in. No I/O.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import msgspec

from crewgate import limits
from crewgate.core.anomaly.enforcement import (
    By,
    EnforcementLevel,
    EnforcementOrder,
    EnforcementState,
    IllegalStepError,
    NoRoomError,
    TransitionCause,
)
from crewgate.core.anomaly.minting_profile import MintingProfile
from crewgate.core.anomaly.quarantined_by_key import OrchestratorName, QuarantinedByKey
from crewgate.core.anomaly.results import (
    GrantAdmission,
    OrchestratorStatus,
    ProfileSnapshot,
    Transition,
    newcomers_account,
)
from crewgate.core.anomaly.types import AnomalyFinding, ObservedGrant, WatchRules
from crewgate.core.fair_share_limiter import FairShareLimiter

_RULES = WatchRules()
# For `CREW/*`, a newcomer's first grant counts only as one new branch.
_BARE = {"parent": b"", "depth": 0, "patterns": 0, "tools": 0, "credits": 0}


class AdmissionController:
    """The watch of all orchestrators of one machine."""

    def __init__(
        self,
        names_max: int = limits.watch_orchestrators_max,
        branches_max: int = limits.watch_branches_max,
    ) -> None:
        self._names_max = names_max
        # Places for known branches; one crew gets at most half of them.
        self._quota = FairShareLimiter(branches_max, share=2)
        self._rules: Mapping[str, WatchRules] = {}
        # The rules of the newcomers' accounts, by the name of the account.
        self._newcomer_rules: Mapping[str, WatchRules] = {}
        # In the order of their last grants, the oldest first.
        self._profiles: OrderedDict[OrchestratorName, MintingProfile] = OrderedDict()
        # In the order in which `poll` visits them.
        self._to_poll: deque[tuple[OrchestratorName, MintingProfile]] = deque()
        # How many profiles each crew has.
        self._count: defaultdict[str, int] = defaultdict(int)
        # The profiles above the level `observe`.
        self._raised: OrderedDict[OrchestratorName, MintingProfile] = OrderedDict()
        self._quarantined_keys = QuarantinedByKey()

    def __len__(self) -> int:
        return len(self._profiles)

    def load(self, rules: Mapping[str, WatchRules]) -> None:
        """Use these rules, by crew, from now on."""
        self._rules = dict(rules)
        self._newcomer_rules = {
            newcomers_account(crew): msgspec.structs.replace(
                each, mints_per_minute=each.newcomers_per_minute
            )
            for crew, each in rules.items()
        }
        for name, profile in self._raised.items():
            if profile.state.in_force(self._rules_of(name).mode) is EnforcementLevel.QUARANTINE:
                self._note_key(name, profile)
            else:
                self._quarantined_keys.release(name)

    def observe(self, grant: ObservedGrant, now: float) -> GrantAdmission:
        """Count a grant, and decide whether it may be used."""
        name = grant.crew, grant.orchestrator
        steps: list[Transition] = []
        profile = self._profiles.get(name)
        if profile is None:
            # A new name under a quarantined orchestrator's key may be its alias.
            if grant.is_new and (grant.crew, grant.kid) in self._quarantined_keys:
                return GrantAdmission(admitted=False)
            has_room = self._has_room(grant.crew, now)
            # Only a new and recent grant can be the first one of a name.
            if (grant.is_new and not grant.is_old) or not has_room:
                admitted = self._count_newcomer(grant, now, steps, is_all=not has_room)
                if not (admitted and has_room):
                    return GrantAdmission(admitted, tuple(steps))
            profile = self._get_or_add(name, now)
            # The newcomers' account may just have taken the last place.
            if profile is None:
                return GrantAdmission(admitted=True, steps=tuple(steps))
        self._profiles.move_to_end(name)
        self._note(name, profile, grant, now, steps)
        self._note_key(name, profile)
        return GrantAdmission(profile.admits(grant, self._rules_of(name)), tuple(steps))

    def poll(self, now: float, wall: int) -> tuple[list[Transition], list[ProfileSnapshot]]:
        """Visit the next profiles; return the transitions, and the profiles to store.

        Call it about once a second; with very many names, it takes minutes to visit all. `wall` is
        as in `EnforcementState.step_down_if_due`.
        """
        raised = list(islice(self._raised, limits.watch_look_names))
        steps = [step for name in raised if (step := self._step_down(name, now, wall))]
        changed = []
        for _ in range(min(limits.watch_look_names, len(self._to_poll))):
            name, profile = self._to_poll.popleft()
            # It may have been forgotten since.
            if self._profiles.get(name) is not profile:
                continue
            self._to_poll.append((name, profile))
            profile.start_minute(now)
            if profile.is_changed and now - profile.saved_at >= limits.watch_save_seconds:
                profile.is_changed, profile.saved_at = False, now
                changed.append(_snapshot(name, profile))
        return steps, changed

    def quarantine(
        self, crew: str, orchestrator: str, now: float, wall: int, seconds: int = 0
    ) -> Transition:
        """Quarantine an orchestrator by a person's order.

        `seconds` 0 means the duration that its crew's rules say. Raises NoRoomError.
        """
        name = crew, orchestrator
        profile = self._get_or_raise(name, now)
        was = profile.state.level
        profile.state.set(wall, wall + (seconds or self._rules_of(name).quarantine_seconds))
        return self._transition(name, profile, was, TransitionCause.SET, by="owner")

    def lift(self, crew: str, orchestrator: str, wall: int) -> Transition:
        """Release an orchestrator by a person's order, and learn its baselines again.

        Raises IllegalStepError if it is neither throttled nor quarantined.
        """
        profile = self._profiles.get((crew, orchestrator))
        if profile is None:
            raise IllegalStepError("there is nothing to lift: this machine has never seen it")
        was = profile.state.level
        profile.state.lift(wall)
        profile.reset()
        return self._transition(
            (crew, orchestrator), profile, was, TransitionCause.LIFT, by="owner"
        )

    def apply_remote(
        self, crew: str, orchestrator: str, now: float, order: EnforcementOrder, *, is_news: bool
    ) -> Transition | None:
        """Apply an order of another machine; return the transition, or None if nothing changes.

        An old release (not `is_news`) does not end a throttle, which may have begun after it. A
        release is stored too, because an older quarantine order may arrive after it. Raises
        NoRoomError.
        """
        name = crew, orchestrator
        profile = self._get_or_raise(name, now) if order.by else self._get_or_add(name, now)
        if profile is None or (
            profile.state.level is EnforcementLevel.THROTTLE and not (order.by or is_news)
        ):
            return None
        was = profile.state.level
        cause = profile.state.apply_remote(order)
        if cause is None:
            return None
        if cause is TransitionCause.LIFT:
            profile.reset()
        return self._transition(name, profile, was, cause, by=order.by or "owner")

    def state(self, crew: str, orchestrator: str) -> OrchestratorStatus:
        """Return the state of an orchestrator. Raises KeyError if the watch does not know it."""
        name = crew, orchestrator
        state = self._profiles[name].state
        in_force = state.in_force(self._rules_of(name).mode)
        return OrchestratorStatus(
            *name, state.level, in_force, state.by, state.held.until, state.owner
        )

    def states(self) -> list[OrchestratorStatus]:
        """Return the states of all orchestrators above `observe`, sorted by name."""
        return [self.state(*name) for name in sorted(self._raised)]

    def has_seen(self, orchestrator: str) -> bool:
        """Return whether it has observed a grant of an orchestrator, or restricts the name now.

        An order of a person or of another machine makes a profile as well, but has no key.
        """
        return any(
            name[1] == orchestrator and (bool(profile.kid) or name in self._raised)
            for name, profile in self._profiles.items()
        )

    def announced_order(self, crew: str, orchestrator: str) -> EnforcementOrder | None:
        """Return the order to announce to the other machines, and mark it announced; or None."""
        profile = self._raised.get((crew, orchestrator))
        if profile is None or not profile.state.is_untold:
            return None
        profile.state.is_untold = False
        return profile.state.watch

    def saved(self, crew: str, orchestrator: str) -> ProfileSnapshot:
        """Return what to store of an orchestrator. Raises KeyError if it is unknown."""
        return _snapshot((crew, orchestrator), self._profiles[crew, orchestrator])

    def __iter__(self) -> Iterator[ProfileSnapshot]:
        """Iterate over what to store of all orchestrators."""
        return (_snapshot(name, profile) for name, profile in list(self._profiles.items()))

    def restore(self, kept: Iterable[ProfileSnapshot], now: float) -> None:
        """Load stored profiles, oldest first. Calm counts from now on."""
        newest = {(each.crew, each.orchestrator): each for each in kept}
        # Throttled and quarantined orchestrators come first: they must get a place.
        for name, each in sorted(
            newest.items(), key=lambda item: item[1].level is EnforcementLevel.OBSERVE
        ):
            profile = self._get_or_add(name, now)
            if profile is None:
                continue
            profile.kid = each.kid
            profile.state = state = EnforcementState(each.level, each.by, now)
            state.owner, state.watch, state.is_untold = each.owner, each.watch, each.is_untold
            profile.teach(each.lessons.items())
            if each.level is not EnforcementLevel.OBSERVE:
                self._raised[name] = profile
                self._note_key(name, profile)

    def _count_newcomer(
        self, grant: ObservedGrant, now: float, steps: list[Transition], *, is_all: bool
    ) -> bool:
        """Count a newcomer's grant for its crew's account; return whether it is admitted.

        Only its existence counts, or all of the grant if `is_all` is set.
        """
        name = (grant.crew, newcomers_account(grant.crew))
        profile = self._profiles.get(name) or self._add(name, now)
        self._profiles.move_to_end(name)
        if not is_all:
            grant = msgspec.structs.replace(grant, **_BARE)
        self._note(name, profile, grant, now, steps)
        return profile.admits(grant, self._rules_of(name))

    def _rules_of(self, name: OrchestratorName) -> WatchRules:
        return self._newcomer_rules.get(name[1]) or self._rules.get(name[0], _RULES)

    def _note(
        self,
        name: OrchestratorName,
        profile: MintingProfile,
        grant: ObservedGrant,
        now: float,
        steps: list[Transition],
    ) -> None:
        """Count a grant, and add the transition to `steps` if it is a strike."""
        rules = self._rules_of(name)
        found = profile.note(grant, now, rules)
        if found is None:
            return
        state, was = profile.state, profile.state.level
        cause = state.strike(now, rules.strikes, rules.calm_seconds)
        if state.level is EnforcementLevel.QUARANTINE and was is not EnforcementLevel.QUARANTINE:
            is_untold = state.in_force(rules.mode) is EnforcementLevel.QUARANTINE
            state.hold(grant.at, grant.at + rules.quarantine_seconds, is_untold=is_untold)
        steps.append(
            self._transition(name, profile, was, cause, finding=found, branch=grant.branch)
        )

    def _step_down(self, name: OrchestratorName, now: float, wall: int) -> Transition | None:
        rules, profile = self._rules_of(name), self._raised[name]
        was = profile.state.level
        self._raised.move_to_end(name)
        cause = profile.state.step_down_if_due(now, wall, rules.mode, rules.calm_seconds)
        return self._transition(name, profile, was, cause) if cause else None

    def _transition(
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
        state = profile.state
        if state.level is EnforcementLevel.OBSERVE:
            self._raised.pop(name, None)
            self._quarantined_keys.release(name)
        else:
            self._raised[name] = profile
            self._note_key(name, profile)
        in_force = state.in_force(self._rules_of(name).mode)
        by = by or state.by
        return Transition(name[0], name[1], was, state.level, in_force, cause, by, finding, branch)

    def _note_key(self, name: OrchestratorName, profile: MintingProfile) -> None:
        """Note the key of a quarantined orchestrator; newcomers may have used any key."""
        if name[1] == newcomers_account(name[0]):
            return
        if profile.state.in_force(self._rules_of(name).mode) is EnforcementLevel.QUARANTINE:
            self._quarantined_keys.hold(name, profile.kid)

    def _get_or_add(self, name: OrchestratorName, now: float) -> MintingProfile | None:
        """Return a profile, added if there is room; a newcomers' account needs no room."""
        found = self._profiles.get(name)
        if found is None and (
            name[1] == newcomers_account(name[0]) or self._has_room(name[0], now)
        ):
            found = self._add(name, now)
        return found

    def _get_or_raise(self, name: OrchestratorName, now: float) -> MintingProfile:
        profile = self._get_or_add(name, now)
        if profile is None:
            raise NoRoomError(f"the watch has no room: it keeps {self._names_max} orchestrators")
        return profile

    def _add(self, name: OrchestratorName, now: float) -> MintingProfile:
        profile = self._profiles[name] = MintingProfile(name[0], self._quota, now)
        self._to_poll.append((name, profile))
        self._count[name[0]] += 1
        return profile

    def _has_room(self, crew: str, now: float) -> bool:
        """Return whether a crew may add a name; forget one without grants for a day if needed.

        A crew has at most half of the places.
        """
        if self._count[crew] >= self._names_max // 2:
            return self._forget(now, crew)
        return len(self._profiles) < self._names_max or self._forget(now, None)

    def _forget(self, now: float, crew: str | None) -> bool:
        for name, profile in islice(self._profiles.items(), limits.watch_look_names):
            if now - profile.seen_at < limits.watch_memory_seconds:
                return False
            if name not in self._raised and crew in {None, name[0]}:
                profile.clear()
                del self._profiles[name]
                self._count[name[0]] -= 1
                return True
        return False


def _snapshot(name: OrchestratorName, profile: MintingProfile) -> ProfileSnapshot:
    state = profile.state
    return ProfileSnapshot(
        *name, state.level, state.by, profile.kid, profile.export_baselines(),
        state.owner, state.watch, state.is_untold,
    )  # fmt: skip
