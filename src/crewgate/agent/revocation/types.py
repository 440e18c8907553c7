"""The revocations as the journal stores them, and the results that the agent returns."""

from typing import NamedTuple

import msgspec

from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ServiceRefusedError


class RevocationCause(NamedTuple):
    """Who ordered a revocation (see `RevocationRecord.by`), and the text that says why."""

    by: str = "owner"
    reason: str = ""


BY_OWNER = RevocationCause()


class StoredRevocation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One revocation: tokens with `key` issued until `before` are revoked, until `expires`.

    `key` is hexadecimal; `kind` is an `EntityKind`, or 0 in journals of versions without a cluster.
    `coarsened`: it revokes all tokens of the crew, because the crew's share had no room. `name` is
    the name of the target, unless it is a branch. `at` is when it was ordered (seconds since 1970),
    and `by` and `reason` are its cause; journals of earlier versions have none of the four.
    """

    crew: str
    branch: str
    key: str
    before: int
    expires: int
    kind: int = 0
    coarsened: bool = False
    name: str = ""
    at: int = 0
    by: str = ""
    reason: str = ""


class LocalRevocationResult(msgspec.Struct, frozen=True):
    """The entry that the agent made for one `target`, whose crew is known.

    `coarse`: the crew's share is used up, so the agent entered this instead of `wanted`. Without
    `is_listed` the table had no room, and the agent entered nothing. Without `is_requested` the
    agent itself added the target: a requested branch may be one of this account.
    """

    target: RevocationTarget
    wanted: StoredRevocation
    coarse: StoredRevocation | None = None
    is_listed: bool = True
    is_requested: bool = True

    @property
    def to_announce(self) -> list[StoredRevocation]:
        """The entries for the other machines, also one without room here.

        Another machine may have room for it, and a ledger in which to close its branch.
        """
        return [self.wanted] if self.coarse is None else [self.coarse, self.wanted]

    @property
    def ended(self) -> tuple[str, str]:
        """The kind and the name of what has ended, for the audit."""
        if self.coarse is not None:
            return EntityKind.CREW.label, self.target.crew
        return self.target.rules.label, self.target.name


def entry_for(
    target: RevocationTarget, wall: int, cause: RevocationCause = BY_OWNER
) -> StoredRevocation:
    """Return the entry for a target. Raises ServiceRefusedError if its kind has no such name."""
    try:
        key = target.key
    except ValueError as error:
        # The message does not repeat the name: it may be a piece of a token.
        raise ServiceRefusedError(f"not a valid {target.rules.label} name: {error}") from error
    is_branch = target.kind is EntityKind.BRANCH
    return StoredRevocation(
        crew=target.crew,
        branch=target.name if is_branch else "",
        key=key.hex(),
        before=target.dead_until(wall),
        expires=target.expires(wall),
        kind=int(target.kind),
        name="" if is_branch else target.name,
        at=wall,
        by=cause.by,
        reason=cause.reason,
    )


def coarse_entry(crew: str, wall: int, cause: RevocationCause = BY_OWNER) -> StoredRevocation:
    """Return the entry that revokes all tokens of a crew until now."""
    entry = entry_for(RevocationTarget(EntityKind.CREW, crew, crew), wall, cause)
    return msgspec.structs.replace(entry, coarsened=True)


class ClockReading(NamedTuple):
    """One reading of the wall clock (seconds) and of CLOCK_BOOTTIME (nanoseconds)."""

    wall: int
    boot_ns: int
