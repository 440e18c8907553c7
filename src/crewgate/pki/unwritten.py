"""Revocations that the register has not taken, because its disk is full, read-only or gone.

They hold in this process from the moment they are asked for, and are written once the disk takes
them. All connections of a process to one register share them. They are lost when the process ends;
the gateway's table, which has them too, is not.
"""

import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

_LOCK = threading.Lock()
_BY_PATH: dict[Path, "Unwritten"] = {}


class Revoked(msgspec.Struct, frozen=True):
    """When (whole seconds since the epoch) and why; whether the gateway has been told."""

    when: int
    reason: str
    announced: bool = False


class Unwritten:
    """Of the register at one path: by serial. `trouble` says why it does not take them."""

    def __init__(self) -> None:
        self.trouble = ""
        self.crl_number = 0  # of the last list, if the register could not keep it
        self._revoked: dict[str, Revoked] = {}

    def __repr__(self) -> str:
        return f"<Unwritten {len(self._revoked)} {self.trouble!r}>"

    def __bool__(self) -> bool:
        return bool(self._revoked)

    def __contains__(self, serial: object) -> bool:
        return serial in self._revoked

    def get(self, serial: str) -> Revoked | None:
        """What is to be written of a certificate."""
        return self._revoked.get(serial)

    def items(self) -> list[tuple[str, Revoked]]:
        """All, as they are now."""
        with _LOCK:
            return list(self._revoked.items())

    def take(self, serials: Iterable[str], when: int, reason: str, trouble: str) -> None:
        """Hold these, which the register refused."""
        with _LOCK:
            self.trouble = trouble
            for serial in serials:
                self._revoked.setdefault(serial, Revoked(when, reason))

    def announced(self, serials: Iterable[str]) -> None:
        """The gateway knows of these."""
        with _LOCK:
            for serial in serials:
                found = self._revoked.get(serial)
                if found is not None:
                    self._revoked[serial] = msgspec.structs.replace(found, announced=True)

    def written(self, serials: Iterable[str]) -> None:
        """The register has these."""
        with _LOCK:
            for serial in serials:
                self._revoked.pop(serial, None)
            if not self._revoked:
                self.trouble = ""


def unwritten_of(path: Path) -> Unwritten:
    """Of the register at `path`, in this process."""
    with _LOCK:
        return _BY_PATH.setdefault(path.absolute(), Unwritten())
