"""Starts CMD without rights or descriptors, reaps it, and ends it with all its descendants.

The sidecar becomes the parent of orphans (`become_subreaper`), so that every descendant of CMD is
found below the sidecar.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from crewgate import limits
from crewgate.errors import SidecarError
from crewgate.lifecycle.processes import MARK, SIDECAR_PROCESS_NAME, below, kill_all, send
from crewgate.runtime.memory_protection import set_attribute
from crewgate.sidecar.drop_privileges_exec import enter_domain
from crewgate.sidecar.user import CommandUser

_EXEC_CHILD = Path(__file__).with_name("drop_privileges_exec.py")
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Adopt orphaned descendants (prctl(2)); call it before the first child starts. OSError."""
    set_attribute(_PR_SET_CHILD_SUBREAPER, 1, "make this process the parent of orphans below it")


def name_sidecar_process() -> None:
    """Let `is_below` know this process; call it before CMD starts, in the first thread. OSError."""
    set_attribute(_PR_SET_NAME, SIDECAR_PROCESS_NAME, "name this process")


def confine_signals() -> bool:
    """Enter a Landlock domain, so that this process can signal only what descends from it.

    Call it in the first thread, before there is another. Return whether the kernel keeps the
    signals inside: then it refuses a signal to the parent of this process. OSError.
    """
    parent = os.getppid()
    set_attribute(_PR_SET_NO_NEW_PRIVS, 1, "give up further privileges")
    if not enter_domain():
        return False
    try:
        os.kill(parent, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        pass
    return False


def environment(
    user: CommandUser, instance: bytes, socket: Path, gateway: str, own: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of CMD: the sidecar's, and where its socket and the gateway are."""
    found = {
        **own,
        MARK: instance.hex(),
        "CREWGATE_SOCKET": str(socket),
        "CREWGATE_GATEWAY": gateway,
    }
    if not user.is_ours:
        found |= {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    return found


def why_not(command: Sequence[str], uid: int, gid: int) -> str:
    """Return why a process of that user cannot become CMD; empty if it can. SidecarError.

    A process of that user checks it, so that every rule of the system counts. The answer may be
    out of date when CMD starts; then the start reports the error.
    """
    arguments = [str(os.getpid()), str(uid), str(gid), "--look", *command]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_EXEC_CHILD), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=limits.run_kill_seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SidecarError(f"{sys.executable}: cannot be run: {error}") from error
    return done.stdout.decode(errors="replace").strip() if done.returncode else ""


class CommandSupervisor:
    """CMD and its descendants: all processes below this one. Make only one in a process.

    `is_confined` is what `confine_signals` has returned.
    """

    def __init__(self, *, is_confined: bool = False) -> None:
        self._is_confined = is_confined
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of CMD; -1 before it was started."""
        return self._process.pid if self._process else -1

    @property
    def status(self) -> int | None:
        """CMD's exit status, or 128 plus the signal that ended it; None while it runs."""
        code = self._process.returncode if self._process else None
        return 128 - code if code is not None and code < 0 else code

    def start(
        self,
        command: Sequence[str],
        user: CommandUser,
        variables: Mapping[str, str],
        after: int | None = None,
    ) -> None:
        """Start CMD in its own session; SidecarError.

        Ctrl-C reaches only the sidecar, which ends all processes in order, and no descendant can
        write into the input of the sidecar's terminal. CMD begins at once, or when there is a byte
        to read from the descriptor `after`.
        """
        rights = [str(os.getpid()), str(user.uid), str(user.gid)]
        mode = "--" if after is None else f"--after={after}"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_EXEC_CHILD), *rights, mode, *command],
                env=dict(variables),
                start_new_session=True,
                pass_fds=() if after is None else (after,),
            )
        except OSError as error:
            raise SidecarError(f"{sys.executable}: cannot be run: {error.strerror}") from error

    def reap(self) -> None:
        """Reap children that have ended: CMD, or orphans that became ours.

        Processes that fork and end again and again may end faster than this process reaps them. So
        one call reaps a bounded number, and raises SIGCHLD again if there may be more.
        """
        with suppress(ChildProcessError):
            for _ in range(limits.sidecar_reap_max):
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None:
                    return
                if self._process is not None and found.si_pid == self._process.pid:
                    self._process.poll()
                else:
                    os.waitpid(found.si_pid, os.WNOHANG)
            signal.raise_signal(signal.SIGCHLD)

    async def end(self) -> bool:
        """Send SIGTERM, wait, send SIGKILL to the rest; return whether all processes have ended.

        Another task must call `reap` meanwhile.
        """
        for process in below(os.getpid()):
            send(process, signal.SIGTERM)
        with trio.move_on_after(limits.run_end_seconds):
            while below(os.getpid()):  # noqa: ASYNC110 - the end of a grandchild is no event here
                await trio.sleep(limits.run_look_seconds)
        if self._is_confined:
            # All at once: a process that forks and ends again and again evades each list.
            with suppress(OSError):
                os.kill(-1, signal.SIGKILL)
        left = await trio.to_thread.run_sync(
            kill_all, lambda: below(os.getpid()), limits.run_kill_seconds
        )
        return not left
