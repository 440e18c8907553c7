"""What is revoked, as the journal has it, and as it is answered; and what names stand for.

Decides which key is entered for a name, and for how long. Knows no table.
"""

import re

import msgspec

from crewgate import limits
from crewgate.core.ids import Kind, certificate_key, table_key
from crewgate.errors import RefusedError
from crewgate.link.owner_messages import Name

_CREW = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
_SERIAL = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One revocation: tokens with `key` issued up to `before` are dead until `expires`."""

    crew: str
    branch: str
    key: str  # hexadecimal
    before: int
    expires: int
    kind: int = 0  # a `Kind`; 0 in journals of before machines told one another


class Done(msgspec.Struct, frozen=True):
    """What was entered. `coarsened`: `key` is the crew's, because its share is used up."""

    branch: str
    crew: str
    branch_key: bytes
    key: bytes
    coarsened: bool
    entry: Entry

    @property
    def target(self) -> str:
        """The kind of what `key` names, as the audit says it."""
        return "crew" if self.coarsened else "branch"

    @property
    def id(self) -> str:
        """Its name."""
        return self.crew if self.coarsened else self.branch


_KINDS = {"orchestrator": Kind.ORCHESTRATOR, "key": Kind.KEY, "certificate": Kind.CERTIFICATE}


def entry_of(name: Name, wall: int) -> Entry:
    """What is entered for a name; RefusedError if it is none."""
    if name.crew and not _CREW.fullmatch(name.crew):
        raise RefusedError(f"{name.crew!r} cannot be the name of a crew")
    if name.kind == "orchestrator":
        key = table_key(Kind.ORCHESTRATOR, name.crew, name.name.encode())
        # A token may be dated up to the leeway ahead, so it counts as issued before then.
        issued = min(name.before or wall, wall)
        before, life = issued + limits.leeway_seconds, limits.revocation_seconds
    elif name.kind == "key":
        key = table_key(Kind.KEY, name.crew, name.name.encode())
        before, life = limits.time_seconds_max, limits.revocation_seconds
    else:
        if not _SERIAL.fullmatch(name.name):
            raise RefusedError(f"{name.name!r} is no serial number in hexadecimal")
        key = certificate_key(name.crew, int(name.name, 16))
        # Beyond its end, by as much as a clock may be wrong.
        before, life = limits.time_seconds_max, name.seconds + limits.clock_distrust_seconds
    kind = _KINDS[name.kind]
    return Entry(name.crew, "", key.hex(), before, wall + life, kind)


class Clocks(msgspec.Struct, frozen=True, gc=False):
    """One reading of the wall clock (seconds) and of CLOCK_BOOTTIME (nanoseconds)."""

    wall: int
    boot_ns: int
