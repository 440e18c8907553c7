"""What is revoked, as the journal has it, and as it is answered; and what names stand for.

Decides which key is entered for a name, for tokens of what age, and for how long. Knows no table.
"""

import re

import msgspec

from crewgate import limits
from crewgate.core.ids import KeyKind, branch_key, certificate_key, crew_key, table_key
from crewgate.core.tokens.claims import is_text
from crewgate.errors import RefusedError
from crewgate.ipc.admin_messages import RevocationTarget, Target

_CREW = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
_SERIAL = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


class NewRevocation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One revocation: tokens with `key` issued up to `before` are dead until `expires`."""

    crew: str
    branch: str
    key: str  # hexadecimal
    before: int
    expires: int
    kind: int = 0  # a `Kind`; 0 in journals of before machines told one another
    coarsened: bool = False  # entered for a narrower one that had no room in the crew's share


class RevocationResult(msgspec.Struct, frozen=True):
    """What was entered for the `name` of what was `asked` for.

    `coarsened`: `key` is the crew's, because its share is used up. `told` is for the other machines
    too, which may have room for what was asked for, and a ledger to close its branch in.
    """

    asked: Target
    name: str
    crew: str
    own_key: bytes
    key: bytes
    coarsened: bool
    told: tuple[NewRevocation, ...]

    @property
    def branch_key(self) -> bytes:
        """The key of the branch that was asked for; empty if it was none."""
        return self.own_key if self.asked == "branch" else b""

    @property
    def target(self) -> Target:
        """The kind of what `key` names, as the audit says it."""
        return "crew" if self.coarsened else self.asked

    @property
    def id(self) -> str:
        """Its name."""
        return self.crew if self.coarsened else self.name


_TARGETS: dict[Target, KeyKind] = {
    "branch": KeyKind.BRANCH,
    "grant": KeyKind.GRANT,
    "process": KeyKind.PROCESS,
    "crew": KeyKind.CREW,
}


def key_of(target: Target, name: str, crew: str) -> bytes:
    """The key by which gates look it up; RefusedError for what no token can name."""
    if target == "crew":
        return crew_key(crew)
    if target == "branch":
        return branch_key(crew, name)
    if not is_text(name):
        # Not repeated: it may be a piece of a token.
        raise RefusedError(f"that is no {target}'s id: expected what a token says, as `tree` shows")
    return table_key(_TARGETS[target], crew, name.encode())


def entry_for(target: Target, name: str, crew: str, wall: int) -> NewRevocation:
    """What is entered for it at that second: branches and grants are dead for good."""
    is_for_good = target in {"branch", "grant"}
    return NewRevocation(
        crew=crew,
        branch=name if target == "branch" else "",
        key=key_of(target, name, crew).hex(),
        before=limits.time_seconds_max if is_for_good else _issued_by(wall),
        expires=wall + limits.revocation_seconds,
        kind=_TARGETS[target],
    )


def _issued_by(wall: int) -> int:
    """A token may be dated up to the leeway ahead, so it counts as issued before then."""
    return wall + limits.leeway_seconds


_KINDS = {
    "orchestrator": KeyKind.ORCHESTRATOR,
    "key": KeyKind.KEY,
    "certificate": KeyKind.CERTIFICATE,
}


def entry_of(name: RevocationTarget, wall: int) -> NewRevocation:
    """What is entered for a name; RefusedError if it is none."""
    if name.crew and not _CREW.fullmatch(name.crew):
        raise RefusedError(f"{name.crew!r} cannot be the name of a crew")
    if name.kind == "orchestrator":
        key = table_key(KeyKind.ORCHESTRATOR, name.crew, name.name.encode())
        before, life = _issued_by(min(name.before or wall, wall)), limits.revocation_seconds
    elif name.kind == "key":
        key = table_key(KeyKind.KEY, name.crew, name.name.encode())
        before, life = limits.time_seconds_max, limits.revocation_seconds
    else:
        if not _SERIAL.fullmatch(name.name):
            raise RefusedError(f"{name.name!r} is no serial number in hexadecimal")
        key = certificate_key(name.crew, int(name.name, 16))
        # Beyond its end, by as much as a clock may be wrong.
        before, life = limits.time_seconds_max, name.seconds + limits.clock_distrust_seconds
    kind = _KINDS[name.kind]
    return NewRevocation(name.crew, "", key.hex(), before, wall + life, kind)


class ClockReading(msgspec.Struct, frozen=True, gc=False):
    """One reading of the wall clock (seconds) and of CLOCK_BOOTTIME (nanoseconds)."""

    wall: int
    boot_ns: int
