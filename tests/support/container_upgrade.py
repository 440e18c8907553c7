"""`make container-test`: the root file system of the image, run, stopped, upgraded and run again.

`python container_upgrade.py [--before REVISION] [--python python3.13]`. The program builds the
wheels of a former revision and of this tree, and a root file system from each wheel, with
`deploy/container/build-rootfs`. A gateway runs in a container of the former one. Then a gateway
runs in one of this tree, with the same folder: good tokens are good, a revoked one is revoked, and
spent credits are spent. The program ends with an error if one of these is not so. It takes some
minutes. It needs bwrap, mmdebstrap and a Python 3.13 with its header files. Without --before, the
former revision is the newest tag, or else the parent of this commit.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from container import PLACE, ROOT, Container, why_not
from container_play import after, before

# The user of the image.
USER = 65532
PYTHON_INSIDE = "/opt/crewgate/bin/python"


def main() -> None:
    """Build both root file systems, and play both halves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", help="revision of git to upgrade from")
    parser.add_argument("--python", default="python3.13", help="interpreter that builds the wheels")
    options = parser.parse_args()
    if reason := why_not():
        raise SystemExit(reason)
    revision = options.before or _newest_tag() or "HEAD^"
    # Another user reads it, so it is not in a private folder.
    work = Path(tempfile.mkdtemp(prefix="crewgate-container-"))
    work.chmod(0o755)
    try:
        source = work / "source"
        _run("git", "-C", str(ROOT), "worktree", "add", "--detach", str(source), revision)
        old = _root(work / "old", source, options.python)
        new = _root(work / "new", ROOT, options.python)
        _play(work, old, new)
    finally:
        _run("git", "-C", str(ROOT), "worktree", "remove", "--force", str(work / "source"))
        shutil.rmtree(work)


def _play(work: Path, old: Path, new: Path) -> None:
    folder = work / "gateway"
    folder.mkdir()
    user = USER if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user, user)
    containers = [
        Container(folder, root=each, python=PYTHON_INSIDE, user=user) for each in (old, new)
    ]
    try:
        containers[0].run("init", PLACE, "--name", "gw-1")
        kept = before(containers[0])
        print("the former version ran, and stopped in order")
        after(containers[1], kept)
        print("this version went on with its tokens, revocations and credits")
    finally:
        for each in containers:
            each.close()


def _root(folder: Path, source: Path, python: str) -> Path:
    """Build the wheel and the root file system of a source tree; return the latter."""
    begun = time.monotonic()
    _run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    built = time.monotonic()
    root = folder / "root"
    command = [str(ROOT / "deploy" / "container" / "build-rootfs"), str(wheel), str(root)]
    _run(*command, environment={"PYTHON": python})
    seconds = f"wheel in {built - begun:.0f} s, root in {time.monotonic() - built:.0f} s"
    print(f"built {wheel.name} of {source}: {seconds}")
    return root


def _newest_tag() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--tags", "--abbrev=0", "HEAD^"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=os.environ | (environment or {}))


if __name__ == "__main__":
    main()
