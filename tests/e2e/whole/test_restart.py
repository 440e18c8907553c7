"""`crewgate restart`: other processes, the same sockets and table, and no call that fails."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from command_process import crewgate
from installation import Installation, installed, wait_until
from soak_http import TornError, Trust
from soak_http2 import HTTP2

from crewgate.issuer import SubAgent

Pids = tuple[set[int], set[int], set[int]]


def _pids(site: Installation) -> Pids:
    """Of the agent, the workers, and the control process."""
    agents, workers = site.children("agent"), site.children("gateway")
    return set(agents), set(workers), set(site.children("control"))


def _is_replaced(before: Pids, site: Installation) -> bool:
    """Everybody is somebody else, and as many as before."""
    after = _pids(site)
    return [*map(len, before)] == [*map(len, after)] and all(
        old.isdisjoint(new) for old, new in zip(before, after, strict=True)
    )


def _bearer(agent: SubAgent) -> dict[str, str]:
    return {"authorization": f"Bearer {agent.token()}"}


class Streams:
    """Callers who share one HTTP/2 connection at a time, until the gateway says that it leaves.

    A call that the gateway says it has not looked at is made again, and no other one.
    """

    def __init__(self, site: Installation, agent: SubAgent, nursery: trio.Nursery) -> None:
        self.trust = Trust(site.folder / "certs" / "ca.pem", site.port)
        self.opened: list[HTTP2] = []
        self._agent = agent
        self._nursery = nursery
        self._opening = trio.Lock()

    async def connection(self) -> HTTP2:
        """The one that takes calls."""
        async with self._opening:
            if not self.opened or not self.opened[-1].usable:
                self.opened.append(await HTTP2.open(self.trust, self._nursery))
            return self.opened[-1]

    async def search(self) -> str:
        """One call; its status, or what became of it."""
        fields = [(b"authorization", b"Bearer " + self._agent.token().encode())]
        while True:
            connection = await self.connection()
            try:
                ask = await connection.ask(b"POST", b"/search", fields, 2)
                await ask.send(b"{}")
                await ask.end()
                return str((await ask.answer()).status)
            except TornError as torn:
                if not torn.untouched:
                    return str(torn)


@asynccontextmanager
async def leaving(streams: Streams) -> AsyncIterator[Streams]:
    """Hang up in the end."""
    yield streams
    for connection in streams.opened:
        await connection.close()


async def test_no_call_fails_while_everything_is_replaced(tmp_path: Path) -> None:
    """Calls on kept connections and new ones, and on streams of one connection.

    (httpx takes a graceful GOAWAY for an error.)
    """
    with installed(tmp_path, delay=0.02, price="0.01") as site:
        agent = site.orchestrator().start_run(credits="900", tools=["search.*"])
        before, answers = _pids(site), []
        shared: list[str] = []

        async def call(ended: trio.Event, *, anew: bool) -> None:
            client = site.client(http2=False)
            while not ended.is_set():
                found = await client.post("/search", json={}, headers=_bearer(agent))
                answers.append("200" if found.status_code == 200 else found.text)
                if anew:
                    await client.aclose()
                    client = site.client(http2=False)
                await trio.sleep(0.02)
            await client.aclose()

        async def share(streams: Streams, ended: trio.Event) -> None:
            while not ended.is_set():
                shared.append(await streams.search())

        async with (
            trio.open_nursery() as reading,
            leaving(Streams(site, agent, reading)) as streams,
            trio.open_nursery() as nursery,
        ):
            ended = trio.Event()
            for _ in range(4):
                nursery.start_soon(share, streams, ended)
            for anew in (False, False, True):
                nursery.start_soon(lambda anew=anew: call(ended, anew=anew))
            while len(answers) < 10:  # noqa: ASYNC110 - the tasks are busy with real sockets
                await trio.sleep(0.01)
            await trio.to_thread.run_sync(site.run, "restart")
            count = len(answers)
            while len(answers) < count + 10:  # noqa: ASYNC110 - the same
                await trio.sleep(0.01)
            await trio.to_thread.run_sync(wait_until, lambda: _is_replaced(before, site))
            ended.set()
        assert set(answers) == set(shared) == {"200"}
        assert len(streams.opened) > 1
        burned = [each for each in site.records() if each["kind"] == "burned"]
        assert not burned


async def test_a_stream_goes_on_through_a_restart(tmp_path: Path) -> None:
    """Its worker leaves when it has ended, and a revocation still cuts it.

    An HTTP/2 connection with a stream takes no further call once GOAWAY has come.
    """
    with installed(tmp_path, workers=1) as site:
        text = site.file.read_text()
        site.file.write_text(text.replace("drain_seconds = 5", "drain_seconds = 30"))
        site.generation()
        agent = site.orchestrator().start_run(credits="900", tools=["search.*"])
        async with (  # httpx takes HTTP/2's graceful GOAWAY for an error
            trio.open_nursery() as reading,
            site.client(http2=False) as client,
            client.stream("GET", "/stream", headers=_bearer(agent)) as answer,
            leaving(Streams(site, agent, reading)) as streams,
        ):
            pieces = answer.aiter_raw()
            await anext(pieces)
            connection = await streams.connection()
            fields = [(b"authorization", b"Bearer " + agent.token().encode())]
            ask = await connection.ask(b"GET", b"/stream", fields, 0)
            assert (await ask.head())[0] == 200
            await trio.to_thread.run_sync(site.run, "restart")
            for _ in range(20):
                await anext(pieces)
            while connection.usable:
                assert await ask.read()
            with pytest.raises(TornError) as torn:
                await connection.ask(b"GET", b"/stream", fields, 0)
            assert torn.value.untouched
            assert await streams.search() == "200"
            for _ in range(20):
                assert await ask.read()
            assert len(site.children("gateway")) == 2
            await trio.to_thread.run_sync(site.ask, "revoke", agent.branch)
            assert b"branch-revoked" in b"".join([piece async for piece in pieces])
            assert b"branch-revoked" in await ask.rest()


def test_a_file_that_workers_lack_is_told_of_before_and_after_a_restart(tmp_path: Path) -> None:
    """The new agent ends at once, so the old one goes on to name the file in the status."""
    with installed(tmp_path, workers=1) as site:
        secret = site.folder / "secret"
        secret.write_text("otter\n")
        secret.chmod(0o600)
        generation = site.generation()
        site.edit(
            "[upstream.tools]\n",
            '[upstream.tools]\ncredential = { header = "x-key", file = "secret" }\n',
        )
        wait_until(lambda: site.generation() > generation)
        before = _pids(site)
        secret.rename(site.folder / "away")
        wait_until(lambda: "no file below" in site.ask("status")["configuration_error"])
        assert crewgate("restart", "-c", site.file).returncode == 1
        assert _pids(site) == before
        found = site.ask("status")
        said = f"upstream tools: the credential cannot be read: no file below {site.folder} "
        assert said in found["configuration_error"]
        troubles = {each["component"] for each in found["health"] if each["state"] != "ok"}
        assert troubles == {"configuration", "restart"}
        assert f"ERROR agent: {said}" in (site.folder / "serve.log").read_text()
        (site.folder / "away").rename(secret)
        late = crewgate("restart", "--wait", "0", "-c", site.file)
        assert (late.returncode, "may still be under way" in late.stdout) == (1, True)
        wait_until(lambda: _is_replaced(before, site))


def test_what_cannot_be_replaced_goes_on(tmp_path: Path) -> None:
    """The file is bad: exit status 1, the reason in the log, the same processes, and degraded."""
    with installed(tmp_path, workers=1) as site:
        before, text = _pids(site), site.file.read_text()
        site.file.write_text("?" + text)
        done = crewgate("restart", "-c", site.file)
        assert done.returncode == 1
        log = (site.folder / "serve.log").read_text()
        assert "the restart is incomplete: the old agent continues: " in log
        assert _pids(site)[0] == before[0]
        assert _pids(site)[1] == before[1]
        site.file.write_text(text)
        found = crewgate("status", "--json", "--wait", "100", "-c", site.file)
        health = {each["component"]: each["state"] for each in json.loads(found.stdout)["health"]}
        assert (found.returncode, health["restart"]) == (1, "degraded"), found.stdout
        site.run("restart")
        assert _pids(site)[0].isdisjoint(before[0])
