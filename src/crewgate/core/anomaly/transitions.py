"""What the minting watch answers, tells and keeps: small frozen nouns; and strangers' name."""

import msgspec

from crewgate.core.anomaly.enforcement import By, EnforcementLevel, QuarantineOrder, TransitionCause
from crewgate.core.anomaly.types import AnomalyFinding


def newcomers_account(crew: str) -> str:
    """The account of a crew's strangers; `*` stands in no `client_id`."""
    return f"{crew}/*"


class Transition(msgspec.Struct, frozen=True):
    """An orchestrator moved from `was` to `level`, or was struck again where it stands.

    `in_force` is what is done about it, which the crew's `mode` bounds. `finding` is what a strike
    was for, `branch` the key of the grant that brought it out.
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
    """Whether a grant may be used, and what seeing it moved."""

    admitted: bool
    steps: tuple[Transition, ...] = ()


class WatchState(msgspec.Struct, frozen=True):
    """Where an orchestrator stands, `until` when if it lapses, and a person's last word on it."""

    crew: str
    orchestrator: str
    level: EnforcementLevel
    in_force: EnforcementLevel
    by: By
    until: int = 0
    word: QuarantineOrder = QuarantineOrder(0)


class ProfileSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an orchestrator over a restart; the last one of a name counts.

    Journals call `level` `rung`, as the first versions did.

    `owner`, `watch` and `is_untold` are its `ladder.Place`'s.
    """

    crew: str
    orchestrator: str
    level: EnforcementLevel = msgspec.field(default=EnforcementLevel.OBSERVE, name="rung")
    by: By = ""
    kid: str = ""
    lessons: dict[str, tuple[float, float, int]] = {}
    owner: QuarantineOrder = QuarantineOrder(0)
    watch: QuarantineOrder = QuarantineOrder(0)
    is_untold: bool = False
