"""Several machines as one trust domain: gateways with folders of their own on one PostgreSQL."""

import base64
import collections
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import trio
from installation import Installation
from postgres import Server, server

# Seconds until a call is made again, doubled each time: a busy machine is not to be kept busy.
AGAIN, AGAIN_MAX = 0.05, 0.4
# Sends one call, and returns its status; 503 if credit may yet come.
Call = Callable[[httpx.AsyncClient, dict[str, str]], Awaitable[int]]


async def search(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Call the tool that each installation has."""
    return (await client.post("/search", headers=headers, content=b"{}")).status_code


class Fleet:
    """Machines that trust each other's crews and draw from one ledger."""

    def __init__(self, machines: list[Installation], url: str) -> None:
        self.machines = machines
        self.url = url

    def token(self, credits_: str, tools: str = "search.*") -> str:
        """Of a new run of a sub-agent, which may spend so many credits."""
        arguments = ("--crew", "article", "--role", "researcher", "--tools", tools)
        return self.machines[0].run("mint", *arguments, "--credits", credits_).strip()

    def line(self, token: str) -> dict[str, Any]:
        """What the ledger says of a token's run; nothing while it has not drawn."""
        branch = branch_of(token)
        rows = self.machines[0].ask("ledger", "report", "--by", "run")["rows"]
        return next((row for row in rows if row["branch"] == branch), {})

    def charged(self, token: str) -> int:
        """Micro-credits that its run has spent or leased by now."""
        with psycopg.connect(self.url) as connection:
            query = "SELECT charged FROM account WHERE name = %s"
            row = connection.execute(query, (branch_of(token),)).fetchone()
        return 0 if row is None else int(row[0])

    def call_all(
        self, token: str, each: int, patience: float = 100.0, call: Call = search
    ) -> collections.Counter[int]:
        """So many calls at each machine at once; their last statuses.

        503 says that credit may yet come: such a call is made again, at first sooner than its
        `Retry-After` asks.
        """
        found: collections.Counter[int] = collections.Counter()
        trio.run(self._call_all, token, each, patience, found, call)
        return found

    async def _call_all(
        self,
        token: str,
        each: int,
        patience: float,
        found: collections.Counter[int],
        call: Call,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"}
        async with trio.open_nursery() as clients:
            for machine in self.machines:
                if machine.serving is not None:
                    clients.start_soon(self._call, machine, headers, each, patience, found, call)

    async def _call(
        self,
        machine: Installation,
        headers: dict[str, str],
        each: int,
        patience: float,
        found: collections.Counter[int],
        call: Call,
    ) -> None:
        async def one(client: httpx.AsyncClient) -> None:
            until = trio.current_time() + patience
            status, pause = 503, AGAIN
            while status == 503 and trio.current_time() < until:
                try:
                    status = await call(client, headers)
                except httpx.HTTPError:
                    status = 0
                    break
                if status == 503:
                    await trio.sleep(pause)
                    pause = min(2 * pause, AGAIN_MAX)
            found[status] += 1

        async with machine.client() as client, trio.open_nursery() as calls:
            for _ in range(each):
                calls.start_soon(one, client)


def branch_of(token: str) -> str:
    """The branch that a token is for."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["execution_branch_id"])


@contextmanager
def fleet(
    folder: Path,
    size: int,
    *,
    price: str = "1",
    on: Server | None = None,
    more: str = "",
    endpoint: str = "",
) -> Iterator[Fleet]:
    """`size` machines that serve until the block ends, on a server of their own or the tests'.

    `more` is added to the table of the ledger. `endpoint` is the table `[mcp.endpoint]`.
    """
    url = (on or server()).new_database(folder.name)
    with ExitStack() as stack:
        machines: list[Installation] = []
        for number in range(size):
            place = folder / f"machine-{number}"
            place.mkdir()
            origin = ("--from", str(machines[0].file)) if machines else ()
            machine = Installation(place, *origin, price=price, workers=1)
            stack.callback(machine.end)
            text = machine.file.read_text()
            ours = f'url = "{url}"\ndurability = "trusted"  # nothing here is ever synced\n{more}'
            text = text.replace('url = "sqlite:state/ledger.db"', ours)
            if endpoint not in text:
                text = text.replace('"publish.*"]', '"publish.*", "endpoint.*"]') + endpoint
            machine.file.write_text(text)
            machines.append(machine)
        machines[0].run("ledger", "migrate")
        for machine in machines:
            machine.serve()
        yield Fleet(machines, url)
