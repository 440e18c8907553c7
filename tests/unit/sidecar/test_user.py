"""Whose process CMD is."""

import ctypes
import os
import signal

import pytest

from crewgate import limits
from crewgate.errors import SidecarError
from crewgate.sidecar import user


def nobody(uid: int) -> bool:
    return False


def test_a_uid_follows_from_the_name() -> None:
    """The same for each life, within the range, and another name's as a rule another."""
    first = user.spare("article/bd-1", (), nobody)
    assert first == user.spare("article/bd-1", (), nobody)
    uids = {user.spare(f"article/bd-{number}", (), nobody) for number in range(100)}
    assert len(uids) > 95
    assert all(limits.run_uid_min <= uid <= limits.run_uid_max for uid in uids)


def test_what_is_taken_or_used_is_passed_over() -> None:
    """The next one that is neither; and from the last one on, the first."""
    first = user.spare("article/bd-1", (), nobody)
    second = user.spare("article/bd-1", {first}, nobody)
    third = user.spare("article/bd-1", {first}, lambda uid: uid == second)
    assert len({first, second, third}) == 3
    every = range(limits.run_uid_min, limits.run_uid_max + 1)
    last = set(every) - {limits.run_uid_min}
    assert user.spare("article/bd-1", last, nobody) == limits.run_uid_min
    with pytest.raises(SidecarError, match="no uid"):
        user.spare("article/bd-1", every, nobody)


def test_who_runs_is_used() -> None:
    """Our own uid has a process at least."""
    assert user.is_used(os.geteuid())
    assert not user.is_used(limits.run_uid_max)


def test_a_user_by_name_and_by_number() -> None:
    """Root is root either way, for root."""
    if os.geteuid() == 0:
        assert user.named("root") == user.named("0") == user.present()
        assert user.named("65533").gid == 65_533
    else:
        with pytest.raises(SidecarError, match="only root"):
            user.named("0")


@pytest.mark.parametrize("text", ["", "no such user", "-1", "4294967295", "99999999999"])
def test_what_is_no_user_is_told(text: str) -> None:
    """With what was given."""
    with pytest.raises(SidecarError, match="no such user"):
        user.named(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts processes of another user")
@pytest.mark.parametrize("dumpable", [0, 1])
def test_a_uid_of_a_running_process_is_used(dumpable: int) -> None:
    """Also if that process is undumpable, and its folder in /proc therefore root's."""
    uid = limits.run_uid_max - 1
    assert not user.is_used(uid)
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setuid(uid)
            ctypes.CDLL(None).prctl(4, dumpable, 0, 0, 0)  # PR_SET_DUMPABLE
            os.write(theirs, b"x")
            signal.pause()
        finally:
            os._exit(0)
    try:
        os.read(ours, 1)
        assert user.is_used(uid)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ours)
        os.close(theirs)
