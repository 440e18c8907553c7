"""`make disks`: a gateway whose disk is full, read-only or dead, for each folder in turn.

`python failing_disks.py [FOLDER …]`. For root, on a machine that mounts loop devices. Says after
how many seconds `crewgate status` tells of the fault, and after how many it is well again once
there is room, or another disk with the same content in the place of the one that failed. Ends with
status 1 if health was silent for longer than two seconds, or if it did not recover by itself. Only
a new disk for `state` takes a new start: the table and the sockets that are in use are on the old
one, and a gateway that began anew by itself might do so before all is copied back.
"""

import argparse
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
from command_process import crewgate
from installation import Installation
from power_disk import kill_disk, make, mounted, why_not
from revocation_targets import branch
from small_disk import fill

from crewgate.errors import CrewgateError
from crewgate.ipc.admin_client import AdminClient

FOLDERS = ("state", "state/audit", "state/gossip", "state/ledger", "ca")
FAULTS = ("full", "read-only", "dead")
TOLD_SECONDS, WELL_SECONDS = 2.0, 60.0
DISK_BYTES = 512 * 2**20
_WAIT_SECONDS = 90.0


class Outcome(NamedTuple):
    """What was seen; None for what did not come in time."""

    told_seconds: float | None
    words: str
    well_seconds: float | None
    restarted: bool

    @property
    def is_good(self) -> bool:
        """Told in time, and well again."""
        told, well = self.told_seconds, self.well_seconds
        return told is not None and told <= TOLD_SECONDS and well is not None

    def __str__(self) -> str:
        told = (
            "never told" if self.told_seconds is None else f"told after {self.told_seconds:.1f} s"
        )
        well = (
            "never well" if self.well_seconds is None else f"well {self.well_seconds:.1f} s after"
        )
        return f"{told}, {well} {'a new start' if self.restarted else 'the mend'}: {self.words}"


class Trial:
    """A gateway one of whose folders is a disk of its own, and somebody who uses it."""

    def __init__(self, folder: Path, place: str, stack: ExitStack) -> None:
        self._images = folder
        self._stack = stack
        self._number = 0
        self.site = Installation(folder, price="0.01", workers=1)
        stack.callback(self.site.end)
        (self.site.folder / "state" / "ledger").mkdir()
        self.site.edit("state/ledger.db", "state/ledger/ledger.db")
        self.site.serve()
        self._token = self.site.orchestrator().start_run(credits="900", tools=["search.*"]).token()
        self.site.stop()
        self.place = self.site.folder / place
        self.place.mkdir(exist_ok=True)
        self._keep()
        self.image, self.device = self._mount()
        self.site.serve()
        self.use()

    def use(self) -> None:
        """Call a tool and revoke a branch, whatever comes of it: most faults show in a write."""
        head = {"authorization": f"Bearer {self._token}"}
        root = ssl.create_default_context(cafile=self.site.folder / "certs" / "ca.pem")
        with suppress(httpx.HTTPError, OSError):
            url = f"https://127.0.0.1:{self.site.port}/search"
            httpx.post(url, headers=head, json={}, verify=root, timeout=1, trust_env=False)
        with suppress(CrewgateError), AdminClient(self.site.folder / "state", 1.0) as owner:
            self._number += 1
            name = f"018f0000-0000-7000-8000-{self._number:012}"
            owner.revoke([branch(name, "article")], "local")

    def fail(self, fault: str) -> Callable[[], None]:
        """Let the disk fail; returns what mends it."""
        if fault == "full":
            filling = fill(self.place)
            return filling.unlink
        with self.site.stopped():  # a ledger that is copied in use may be older than its mark
            self._keep()
            if fault == "read-only":
                Path(f"/sys/fs/ext4/{self.device}/trigger_fs_error").write_text("1")
            else:
                kill_disk(self.image, self.device)
        return self._replace

    def health(self) -> tuple[int, str]:
        """The exit status of `status`, and the words of what is not well."""
        done = crewgate("status", "--json", "-c", self.site.file)
        rows = json.loads(done.stdout)["health"]
        bad = [each for each in rows if each["state"] != "ok"]
        return done.returncode, "; ".join(f"{each['component']}: {each['why']}" for each in bad)

    def _keep(self) -> None:
        """Copy what is in the folder, for the disks that take its place."""
        shutil.rmtree(self._images / "kept", ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.place), str(self._images / "kept")], check=True)

    def _mount(self) -> tuple[Path, str]:
        self._number += 1
        image = make(self._images / f"disk{self._number}.img", DISK_BYTES)
        # A gateway that serves uses the disk as soon as it is there, so it has its content by then.
        disk = mounted(image, self.place, "errors=remount-ro", content=self._images / "kept")
        return image, self._stack.enter_context(disk)

    def _replace(self) -> None:
        """Mount another disk over the one that failed."""
        self.image, self.device = self._mount()


def outcome(trial: Trial, fault: str, *, restarts: bool, patience: float = 0.0) -> Outcome:
    """Of one fault of a well gateway; `restarts`: it is started anew once the disk is mended.

    `patience`: seconds more to wait for either, on a machine that may be busy.
    """
    mend = trial.fail(fault)
    told, words = _wait(trial, lambda status: status != 0, TOLD_SECONDS + _WAIT_SECONDS + patience)
    mend()
    if restarts:
        trial.site.stop()
        trial.site.start()
    well, left = _wait(trial, lambda status: status == 0, WELL_SECONDS + patience)
    return Outcome(told, f"{words}; then {left}" if well is None else words, well, restarts)


def _wait(trial: Trial, good: Callable[[int], bool], seconds: float) -> tuple[float | None, str]:
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        trial.use()
        status, words = trial.health()
        if good(status):
            return now, words
        time.sleep(0.05)
    return None, trial.health()[1]


@contextmanager
def trial_of(place: str) -> Iterator[Trial]:
    """A gateway in a folder of its own."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        yield Trial(Path(name), place, stack)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="*", default=FOLDERS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if why := why_not(Path(name)):
            print(f"no disk can fail here: {why}")
            return 2
    are_good = True
    for place in asked.folder:
        for fault in FAULTS:
            with trial_of(place) as trial:
                found = outcome(trial, fault, restarts=place == "state" and fault != "full")
            are_good &= found.is_good
            print(f"{place} {fault}: {found}", flush=True)
    return 0 if are_good else 1


if __name__ == "__main__":
    sys.exit(main())
