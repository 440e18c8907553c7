"""Gives up rights and becomes CMD: a sidecar starts this file with `PARENT UID GID -- CMD …`.

With `--look` in place of `--`, it only prints why that user could not run CMD. With `--after=FD`,
CMD is a sub-agent: it first waits for a byte from that descriptor, and ends if there is none, and
CMD can neither trace nor signal a process that does not descend from it.

It is a program and not a function after fork(), so that the sidecar's memory is never in it. It
inherits only the first three descriptors and opens none that CMD would inherit. It imports only the
standard library, and all of it before it gives up the right to read it.
"""

import ctypes
import errno
import os
import signal
import sys
import warnings  # noqa: F401 - os.execvp() imports it, when this user may not read it any more
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_SCOPE_SIGNAL = 1 << 1
_OOM_SCORE_STEP, _OOM_SCORE_MAX = 200, 1000  # thousandths of all memory
_CANNOT_RUN, _NOT_FOUND = 126, 127  # the statuses of shells (POSIX.1-2024, XCU 2.8.2)


def main(arguments: list[str]) -> int:
    """Become CMD; if that fails, return the exit status."""
    parent, uid, gid = (int(text) for text in arguments[:3])
    command = arguments[4:]
    found = [path for path in _candidates(command[0]) if os.path.lexists(path)]
    _prefer_for_oom_kill()
    try:
        _give_up_rights(uid, gid)
        if arguments[3] == "--look":
            return _look(found)
        _die_with(parent)
    except OSError as error:
        return _print_error(f"cannot become uid {uid}: {error.strerror}", _CANNOT_RUN)
    _, _, descriptor = arguments[3].partition("--after=")
    if descriptor:
        if not _may_begin(int(descriptor)):
            return 0
        enter_domain()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(command[0], command)  # noqa: S606 - the purpose of this program
    except OSError as error:
        # If CMD's user may not enter a folder of PATH, a missing command raises EACCES.
        is_anywhere = any(os.path.exists(path) for path in _candidates(command[0]))  # noqa: PTH110
        if error.errno == errno.ENOENT or not is_anywhere:
            return _print_error(f"cannot run {command[0]}: not found", _NOT_FOUND)
        return _print_error(f"cannot run {command[0]}: {error.strerror}", _CANNOT_RUN)


def _may_begin(descriptor: int) -> bool:
    """Wait for the byte that lets CMD begin; return False if the sidecar has closed the pipe."""
    try:
        return bool(os.read(descriptor, 1))
    finally:
        os.close(descriptor)


def _look(found: list[str]) -> int:
    """Return 0, or print why this user can run none of the files and return a status."""
    if any(os.path.isfile(path) and os.access(path, os.X_OK) for path in found):  # noqa: PTH113
        return 0
    for path in found[:1]:
        folder = "/"
        # A link, such as the interpreter of a virtual environment, can lead into a closed folder.
        for part in os.path.realpath(path).split("/")[1:-1]:
            folder = os.path.join(folder, part)  # noqa: PTH118
            if not os.access(folder, os.X_OK):
                sys.stdout.write(f"{folder} is closed to CMD's user, so {path} is too\n")
                return _CANNOT_RUN
        sys.stdout.write(f"{path} is not a program that CMD's user may run\n")
        return _CANNOT_RUN
    sys.stdout.write("not found\n")
    return _NOT_FOUND


def _candidates(name: str) -> list[str]:
    folders = [""] if "/" in name else os.get_exec_path()
    return [os.path.join(folder, name) for folder in folders]  # noqa: PTH118


def _give_up_rights(uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies (prctl(2)).

    Call it after the uid is changed: that resets the setting. If the parent died before, the kernel
    sends no signal; getppid() shows that case.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def enter_domain() -> bool:
    """Have this thread enter a Landlock domain (landlock(7)); return whether the kernel has them.

    The kernel lets no process of a domain trace a process outside of it, nor read or write its
    memory. This domain also keeps signals inside (Linux 6.12), and restricts nothing else.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # struct landlock_ruleset_attr: of the file system, of the network, and what is scoped.
    attributes = (ctypes.c_uint64 * 3)(0, 0, _LANDLOCK_SCOPE_SIGNAL)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    if ruleset < 0:
        return False
    try:
        return int(libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)) == 0
    finally:
        os.close(ruleset)


def _prefer_for_oom_kill() -> None:
    """Have the kernel kill this process before the sidecar when memory ends.

    Without the sidecar, the descendants of CMD would go on. Call it as root, if this process is
    root: then CMD cannot undo it (proc_pid_oom_score_adj(5)).
    """
    path = "/proc/self/oom_score_adj"
    with suppress(OSError, ValueError), open(path, "r+", encoding="ascii") as file:  # noqa: PTH123
        preferred = min(int(file.read()) + _OOM_SCORE_STEP, _OOM_SCORE_MAX)
        file.seek(0)
        file.write(str(preferred))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _print_error(text: str, status: int) -> int:
    sys.stderr.write(f"crewgate run: {text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
