"""Targets of revocations, as tests name them in one line."""

from collections.abc import Sequence

from crewgate.agent.revocation.revocation_store import RevocationStore
from crewgate.agent.revocation.types import ClockReading, LocalRevocationResult
from crewgate.core.ids import EntityKind
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.revocation_kinds import RevocationTarget


def branch(name: str, crew: str = "") -> RevocationTarget:
    """A branch and all below it."""
    return RevocationTarget(EntityKind.BRANCH, name, crew)


def certificate(serial: int, crew: str = "bd", seconds: int = 3600) -> RevocationTarget:
    """A certificate that ends in so many seconds."""
    return RevocationTarget(EntityKind.CERTIFICATE, f"{serial:X}", crew, seconds=seconds)


def orchestrator(name: str, crew: str = "", before: int = 0) -> RevocationTarget:
    """All tokens of a `client_id` until `before`, or until now."""
    return RevocationTarget(EntityKind.ORCHESTRATOR, name, crew, before=before)


def signing_key(kid: str, crew: str) -> RevocationTarget:
    """A key of a crew, and all that it signs."""
    return RevocationTarget(EntityKind.KEY, kid, crew)


def revoke_one(
    revocations: RevocationStore,
    target: RevocationTarget,
    crews: Sequence[CrewPolicy],
    clocks: ClockReading,
    *,
    coarsens: bool = True,
) -> LocalRevocationResult:
    """What became of a step with one target, under a policy with these crews."""
    revocations.load(crews)
    (result,) = revocations.revoke([target], clocks, coarsens=coarsens)
    return result
