"""What is revoked, as the journal has it and as the agent answers it. Knows no table."""

import msgspec

from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import RefusedError


class StoredRevocation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One revocation: tokens with `key` issued up to `before` are dead until `expires`."""

    crew: str
    branch: str
    key: str  # hexadecimal
    before: int
    expires: int
    kind: int = 0  # a `EntityKind`; 0 in journals of before machines told one another
    coarsened: bool = False  # entered for a narrower one that had no room in the crew's share


class LocalRevocationResult(msgspec.Struct, frozen=True):
    """What the agent entered for one `target`, whose crew is known.

    `coarse`: the crew's share is used up, and this was entered in the place of `wanted`. Not
    `is_listed`: the table had no room, and nothing was entered.
    """

    target: RevocationTarget
    wanted: StoredRevocation
    coarse: StoredRevocation | None = None
    is_listed: bool = True

    @property
    def to_announce(self) -> list[StoredRevocation]:
        """What the other machines hear of.

        That is also what found no room here: they may have room for it, and a ledger to close its
        branch in.
        """
        return [self.wanted] if self.coarse is None else [self.coarse, self.wanted]

    @property
    def ended(self) -> tuple[str, str]:
        """The kind and the name of what has ended, as the audit says it."""
        if self.coarse is not None:
            return EntityKind.CREW.label, self.target.crew
        return self.target.rules.label, self.target.name


def entry_for(target: RevocationTarget, wall: int) -> StoredRevocation:
    """What is entered for a target at that second; RefusedError if its kind has no such name."""
    try:
        key = target.key
    except ValueError as error:
        # The name is not repeated: it may be a piece of a token.
        raise RefusedError(f"that names no {target.rules.label}: {error}") from error
    return StoredRevocation(
        crew=target.crew,
        branch=target.name if target.kind is EntityKind.BRANCH else "",
        key=key.hex(),
        before=target.dead_until(wall),
        expires=target.expires(wall),
        kind=int(target.kind),
    )


def coarse_entry(crew: str, wall: int) -> StoredRevocation:
    """Every token of the crew until now, in the place of what has no room in its share."""
    entry = entry_for(RevocationTarget(EntityKind.CREW, crew, crew), wall)
    return msgspec.structs.replace(entry, coarsened=True)


class ClockReading(msgspec.Struct, frozen=True, gc=False):
    """One reading of the wall clock (seconds) and of CLOCK_BOOTTIME (nanoseconds)."""

    wall: int
    boot_ns: int
