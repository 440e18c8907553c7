"""Becomes CMD: `crewgate run` starts this file with `PARENT UID GID -- CMD …`.

With `--look` in place of `--` it only says why that user could not run CMD.

A program of its own and not a function that runs after fork(), so that nothing of the supervisor's
memory is ever in it. Gives up rights, then itself; knows no certificate. Inherits no descriptor but
the first three, and opens none that CMD would inherit. Imports the standard library alone, and all
of it before it gives up the right to read it.
"""

import ctypes
import errno
import os
import signal
import sys
import warnings  # noqa: F401 - os.execvp() would import it, when it can no longer be read

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CANNOT_RUN, _NOT_FOUND = 126, 127  # as shells have them (POSIX.1-2024, XCU 2.8.2)


def main(arguments: list[str]) -> int:
    """Become CMD; the exit status if that cannot be."""
    parent, uid, gid = (int(text) for text in arguments[:3])
    command = arguments[4:]
    there = [path for path in _places(command[0]) if os.path.lexists(path)]
    try:
        _give_up_rights(uid, gid)
        if arguments[3] == "--look":
            return _look(there)
        _die_with(parent)
    except OSError as error:
        return _print_error(f"cannot become uid {uid}: {error.strerror}", _CANNOT_RUN)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(command[0], command)  # noqa: S606 - what it is for
    except OSError as error:
        # A folder of PATH that CMD's user may not enter hides that the command is in none.
        if error.errno == errno.ENOENT or not _is_anywhere(command[0]):
            return _print_error(f"cannot run {command[0]}: not found", _NOT_FOUND)
        return _print_error(f"cannot run {command[0]}: {error.strerror}", _CANNOT_RUN)


def _look(there: list[str]) -> int:
    """Status 0, or a line that says why none of the files that are there can be run."""
    if any(os.path.isfile(path) and os.access(path, os.X_OK) for path in there):  # noqa: PTH113
        return 0
    for path in there[:1]:
        folder = "/"
        for part in os.path.abspath(path).split("/")[1:-1]:  # noqa: PTH100
            folder = os.path.join(folder, part)  # noqa: PTH118
            if not os.access(folder, os.X_OK):
                sys.stdout.write(f"{folder} is closed to CMD's user, and {path} is in there\n")
                return _CANNOT_RUN
        sys.stdout.write(f"{path} is no program that CMD's user may run\n")
        return _CANNOT_RUN
    sys.stdout.write("not found\n")
    return _NOT_FOUND


def _places(name: str) -> list[str]:
    folders = [""] if "/" in name else os.get_exec_path()
    return [os.path.join(folder, name) for folder in folders]  # noqa: PTH118


def _is_anywhere(name: str) -> bool:
    return any(os.path.exists(path) for path in _places(name))  # noqa: PTH110


def _give_up_rights(uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _die_with(parent: int) -> None:
    """After the uid, whose change takes the setting back; prctl(2).

    If the parent died before it was made, nobody sends the signal: then getppid() differs.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _print_error(text: str, status: int) -> int:
    sys.stderr.write(f"crewgate run: {text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
