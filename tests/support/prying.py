"""Programs that try to read another process, and other users to run them.

The prying program is shell, so that any user can run it; each line that it prints is an attempt and
what came of it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65_534
# $1 is whose /proc is tried. Reading is tried on what a reader would want, and a debugger's way in.
PRY = """
tried() { if eval "$2" >/dev/null 2>&1; then echo "$1: OPEN"; else echo "$1: closed"; fi; }
tried environ "cat /proc/$1/environ"
tried descriptors "ls /proc/$1/fd/"
tried descriptor "cat /proc/$1/fd/0"
tried memory "dd if=/proc/$1/mem count=0"
tried maps "head -c 1 /proc/$1/maps"
tried cwd "ls /proc/$1/cwd/"
tried root "ls /proc/$1/root/"
# PTRACE_SEIZE, by its number: no debugger need be installed.
tried trace "[ $(uname -m) = x86_64 ] && perl -e 'exit(syscall(101, 0x4206, $1, 0, 0) < 0)'"
tried socket "curl -sS --max-time 5 --unix-socket $CREWGATE_SOCKET $CREWGATE_GATEWAY/search"
"""
WITHOUT_SOCKET = {"environ", "descriptors", "descriptor", "memory", "maps", "cwd", "root", "trace"}
DROP = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
OTHERS = {"PYTHONPATH": os.pathsep.join(sys.path)}


@contextmanager
def prying() -> Iterator[Path]:
    """The prying program, where every user can read it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "pry.sh")
        path.write_text(PRY)
        path.chmod(0o755)
        yield path


def interpreter_of_others(code: str) -> str:
    """One of this version that another user can run `code` with."""
    for path in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        tried = [*DROP, "sh", "-c", f"exec {path} -c '{code}'"]
        if subprocess.run(tried, check=False, env=os.environ | OTHERS).returncode == 0:
            return path
    pytest.skip("no interpreter of this version is for other users to run")
