"""The output of the minting watch: transitions, admissions, states and stored profiles."""

import msgspec

from crewgate.core.anomaly.enforcement import (
    By,
    EnforcementLevel,
    EnforcementOrder,
    TransitionCause,
)
from crewgate.core.anomaly.types import AnomalyFinding


def newcomers_account(crew: str) -> str:
    """Return the name of the account that counts a crew's newcomers.

    A newcomer is an orchestrator that the watch has never seen. No `client_id` has a `*`.
    """
    return f"{crew}/*"


class Transition(msgspec.Struct, frozen=True):
    """A change of an orchestrator's level from `was` to `level`, or a strike that changes nothing.

    `in_force` is the level that the watch applies, at most the crew's `mode` unless a person has
    set it. A strike has a `finding`, and `branch`: the key of the branch whose grant caused it.
    """

    crew: str
    orchestrator: str
    was: EnforcementLevel
    level: EnforcementLevel
    in_force: EnforcementLevel
    cause: TransitionCause
    by: By = ""
    finding: AnomalyFinding | None = None
    branch: bytes = b""


class GrantAdmission(msgspec.Struct, frozen=True):
    """Whether a grant may be used, and the transitions that observing it caused."""

    admitted: bool
    steps: tuple[Transition, ...] = ()


class OrchestratorStatus(msgspec.Struct, frozen=True):
    """An orchestrator's level, who set it, and when a quarantine lapses.

    `until` is 0 if nothing lapses. `word` is the last order of a person.
    """

    crew: str
    orchestrator: str
    level: EnforcementLevel
    in_force: EnforcementLevel
    by: By
    until: int = 0
    word: EnforcementOrder = EnforcementOrder(0)


class ProfileSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the journal keeps of an orchestrator over a restart; the last one of a name counts.

    The journal's name of `level` is `rung`, as in the first versions. `owner`, `watch` and
    `is_untold` are those of its `EnforcementState`.
    """

    crew: str
    orchestrator: str
    level: EnforcementLevel = msgspec.field(default=EnforcementLevel.OBSERVE, name="rung")
    by: By = ""
    kid: str = ""
    lessons: dict[str, tuple[float, float, int]] = {}
    owner: EnforcementOrder = EnforcementOrder(0)
    watch: EnforcementOrder = EnforcementOrder(0)
    is_untold: bool = False
