"""Whose process CMD is: a user of its own, a user that was named, or the supervisor's own.

Decides by who the supervisor is: root gives CMD a uid that nobody else has, taken from its
orchestrator's name, so that the next life of that name finds its files again. Anybody else can
give none. Starts nothing.
"""

import hashlib
import os
import pwd
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.errors import SidecarError


class CommandUser(msgspec.Struct, frozen=True):
    """The operating-system user that CMD runs as."""

    uid: int
    gid: int
    name: str
    home: str

    @property
    def is_ours(self) -> bool:
        """The supervisor's own user: no wall between it and CMD but what the kernel closes."""
        return self.uid == os.geteuid()


def present() -> CommandUser:
    """The user that the supervisor runs as."""
    return _of(os.geteuid(), os.getegid())


def named(text: str) -> CommandUser:
    """The user of a name or of a number; SidecarError if there is none, or we may not."""
    try:
        row = pwd.getpwnam(text)
    except KeyError:
        if not text.isdecimal() or int(text) >= 2**32 - 1:
            raise SidecarError(f"--user {text}: no such user, and no uid") from None
        user = _of(int(text), int(text))
    else:
        user = _of(row.pw_uid, row.pw_gid)
    if os.geteuid() not in {0, user.uid}:
        raise SidecarError(f"--user {text}: only root starts processes of another user")
    return user


def spare(label: str, taken: Collection[int], is_used: Callable[[int], bool]) -> int:
    """A uid for the orchestrator `label` that is neither `taken` nor used; SidecarError.

    The first one tried follows from the name; from there on, the next ones.
    """
    size = limits.run_uid_max - limits.run_uid_min + 1
    first = int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest()) % size
    for step in range(size):
        uid = limits.run_uid_min + (first + step) % size
        if uid not in taken and not is_used(uid):
            return uid
    raise SidecarError(f"no uid of {limits.run_uid_min} to {limits.run_uid_max} is free")


def is_used(uid: int) -> bool:
    """Somebody is called so, or something runs so."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return any(_runs_as(entry, uid) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208
    return True


def own(uid: int) -> CommandUser:
    """The user that is an orchestrator's alone."""
    return CommandUser(uid, uid, f"crewgate-{uid}", "/")


def _of(uid: int, gid: int) -> CommandUser:
    try:
        row = pwd.getpwuid(uid)
    except KeyError:
        return CommandUser(uid, gid, str(uid), "/")
    return CommandUser(uid, gid, row.pw_name, row.pw_dir)


def _runs_as(pid: str, uid: int) -> bool:
    """By what it says of itself: the folder of an undumpable process is root's (proc(5))."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return False
    uids = next((line.split()[1:] for line in lines if line.startswith("Uid:")), [])
    return str(uid) in uids
