"""Several gateways as `init` and `init --from` write them, of which a majority must agree."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio
from command_process import crewgate
from installation import Installation, wait_until

from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_messages import MachineClusterStatus

STALENESS = 1


@contextmanager
def gateways(folder: Path, count: int) -> Iterator[list[Installation]]:
    """All serve, are fresh and know one another; out of touch for a second they refuse."""
    with ExitStack() as stack:
        machines: list[Installation] = []
        for number in range(count):
            place = folder / f"machine-{number}"
            place.mkdir()
            first = machines[:1]
            more = ("--from", str(first[0].file), "--budgets", "per-machine") if first else ()
            machines.append(Installation(place, *more, workers=1))
            stack.callback(machines[-1].end)
        for machine in machines:
            _configure(machine, [each for each in machines if each is not machine])
            machine.serve()
        for machine in machines:
            wait_until(lambda each=machine: counted(each) == count)
        yield machines


def _configure(machine: Installation, others: list[Installation]) -> None:
    text = machine.file.read_text()
    peers = ", ".join(f'"127.0.0.1:{each.port + 3}"' for each in others)
    text = re.sub(r"(?m)^peers = .*$", f"peers = [{peers}]", text, count=1)
    text = re.sub(r"(?m)^staleness_quorum = .*\n", "", text)
    text = text.replace("[cluster]\n", f"[cluster]\nmax_staleness_seconds = {STALENESS}\n", 1)
    if "\nper_machine = true" not in text:
        url = 'url = "sqlite:state/ledger.db"'
        text = text.replace(url, f"{url}\nper_machine = true", 1)
    machine.file.write_text(text)


def begin(machine: Installation, *more: str) -> None:
    """Start it, and wait until its worker accepts, ready or not."""
    machine.start(None, *more)
    wait_until(lambda: _accepts(machine))


def counted(machine: Installation) -> int:
    """How many machines count, as one of them sees it."""
    with AdminClient(machine.folder / "state") as owner:
        return sum(row.standing == "counts" for row in owner.members())


def name_of(machine: Installation) -> str:
    """What the others call it."""
    return stands(machine).name


def stands(machine: Installation) -> MachineClusterStatus:
    """How it stands among the others, in touch or not."""
    with AdminClient(machine.folder / "state") as owner:
        return owner.cluster()


def _accepts(machine: Installation) -> bool:
    try:
        with AdminClient(machine.folder / "state") as owner:
            return all(worker.accepting for worker in owner.status().workers)
    except ServiceConnectionError:
        return False


def said(machine: Installation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """One command, however it ends."""
    return crewgate(*arguments, "-c", machine.file)


def token_of(machine: Installation) -> str:
    """For one run with credit enough."""
    arguments = ("--crew", "article", "--role", "researcher", "--tools", "search.*")
    return machine.run("mint", *arguments, "--credits", "50").strip()


def answer(machine: Installation, token: str) -> tuple[int, str]:
    """Status and body of one call."""

    async def call() -> tuple[int, str]:
        async with machine.client() as client:
            headers = {"authorization": f"Bearer {token}"}
            found = await client.post("/search", headers=headers, json={})
            return found.status_code, found.text

    return trio.run(call)


if __name__ == "__main__":  # three of them to look at, until Enter is pressed
    with gateways(Path(sys.argv[1]), int(sys.argv[2])) as all_of_them:
        print(*(each.file for each in all_of_them), sep="\n", flush=True)
        sys.stdin.readline()
