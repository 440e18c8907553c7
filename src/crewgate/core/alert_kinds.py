"""The kinds of alerts and their severities, in the words of the configuration and messages."""

import enum


class AlertKind(enum.Enum):
    """The subject of an alert; the value is its `type` in a message.

    `RUN_CREDITS` and `BRANCH_CREDITS`: a share of the credits is spent. `CREW_HOUR`, `CREW_DAY`:
    the same for the credits of a crew's hour or day. `RULE`: a step of a rule. `BRANCH_ENDED`: a
    revocation of a branch or a token. `ACCESS_ENDED`: one of an orchestrator, a subject or a crew.
    `QUARANTINE`: the minting watch, or a person, restricts an orchestrator. `CREDITS_BURNED`: calls
    were charged whose cost is unknown. `LEDGER`, `DISK`, `CERTIFICATE`, `HEALTH`: a component of a
    machine is not well, or is well again. `MACHINE`: a machine of the cluster is away, back, new or
    evicted. `PROCESS`: a process has ended and was started again.
    """

    RUN_CREDITS = "run-credits"
    BRANCH_CREDITS = "branch-credits"
    CREW_HOUR = "crew-hour"
    CREW_DAY = "crew-day"
    RULE = "rule"
    BRANCH_ENDED = "branch-ended"
    ACCESS_ENDED = "access-ended"
    QUARANTINE = "quarantine"
    CREDITS_BURNED = "credits-burned"
    LEDGER = "ledger"
    MACHINE = "machine"
    CERTIFICATE = "certificate"
    DISK = "disk"
    PROCESS = "process"
    HEALTH = "health"


class AlertSeverity(enum.Enum):
    """The urgency of an alert.

    `INFO`: a person may want to know. `WARNING`: act today. `CRITICAL`: act now.
    """

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The order: a higher rank is more urgent."""
        return _RANKS[self]


_RANKS = {AlertSeverity.INFO: 0, AlertSeverity.WARNING: 1, AlertSeverity.CRITICAL: 2}
