"""Chooses the user that CMD runs as: a uid of its own, a named user, or the sidecar's user.

If the sidecar runs as root, CMD gets a uid that no other user has. The uid follows from the name of
the orchestrator, so that its next run can use the same files. Only root can give CMD another user.
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
        """Whether it is the sidecar's user: then only the kernel's undumpable flag protects it."""
        return self.uid == os.geteuid()


def present() -> CommandUser:
    """Return the user that this process runs as."""
    return _of(os.geteuid(), os.getegid())


def named(text: str) -> CommandUser:
    """Return the user with a name or uid; SidecarError if there is none, or it is not allowed."""
    try:
        row = pwd.getpwnam(text)
    except KeyError:
        if not text.isdecimal() or int(text) >= 2**32 - 1:
            raise SidecarError(f"--user {text}: no such user, and not a uid") from None
        user = _of(int(text), int(text))
    else:
        user = _of(row.pw_uid, row.pw_gid)
    if os.geteuid() not in {0, user.uid}:
        raise SidecarError(f"--user {text}: only root can start processes of another user")
    return user


def spare(label: str, taken: Collection[int], is_used: Callable[[int], bool]) -> int:
    """Return a uid for the orchestrator `label` that is neither `taken` nor used; SidecarError.

    The search starts at a uid that follows from the label.
    """
    size = limits.run_uid_max - limits.run_uid_min + 1
    first = int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest()) % size
    for step in range(size):
        uid = limits.run_uid_min + (first + step) % size
        if uid not in taken and not is_used(uid):
            return uid
    raise SidecarError(f"no uid from {limits.run_uid_min} to {limits.run_uid_max} is free")


def is_used(uid: int) -> bool:
    """Whether a user has this uid, or a process runs with it."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return any(_runs_as(entry, uid) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208
    return True


def own(uid: int) -> CommandUser:
    """Return the user for a uid that only one orchestrator has."""
    return CommandUser(uid, uid, f"crewgate-{uid}", "/")


def _of(uid: int, gid: int) -> CommandUser:
    try:
        row = pwd.getpwuid(uid)
    except KeyError:
        return CommandUser(uid, gid, str(uid), "/")
    return CommandUser(uid, gid, row.pw_name, row.pw_dir)


def _runs_as(pid: str, uid: int) -> bool:
    """Read /proc/PID/status: root owns the folder of an undumpable process (proc(5))."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return False
    uids = next((line.split()[1:] for line in lines if line.startswith("Uid:")), [])
    return str(uid) in uids
