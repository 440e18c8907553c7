"""Workers as `serve` runs them: reloads, a killed agent, revocations, drains, under real calls."""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from installation import Installation, installed

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.errors import TableError
from crewgate.issuer import SubAgent


def _bearer(agent: SubAgent) -> dict[str, str]:
    return {"authorization": f"Bearer {agent.token()}"}


async def _until(true: Callable[[], object]) -> None:
    """Look again and again; the test's own time limit bounds it."""
    while not true():  # noqa: ASYNC110 - other processes set no events
        await trio.sleep(0.02)


def _newest(site: Installation) -> int:
    """The configuration that the worker serves; it may have passed over one."""
    said = (site.folder / "serve.log").read_text().split("serving configuration ")
    return int(said[-1].split()[0])


def _run(site: Installation) -> SubAgent:
    return site.orchestrator().start_run(credits="900", tools=["search.*"])


async def test_reload_keeps_connections(tmp_path: Path) -> None:
    """SIGHUP while calls go on: none fails, the connection stays, tools may change their order."""
    with installed(tmp_path, workers=1) as site:
        agent = _run(site)
        answers: list[str] = []
        async with site.client() as client, trio.open_nursery() as nursery:
            ended = trio.Event()

            async def call() -> None:
                while not ended.is_set():
                    answer = await client.post("/search", json={}, headers=_bearer(agent))
                    answers.append("200" if answer.status_code == 200 else answer.text)

            nursery.start_soon(call)
            assert site.serving is not None
            text = site.file.read_text()
            head, tools = text.split('[tool."', 1)
            for number in range(3):
                cheap = f'[tool."cheap{number}.get"]\nmethod = "GET"\npath = "/cheap{number}"\n'
                cheap += 'upstream = "tools"\nprice = "0"\n\n[tool."'
                beside = site.file.with_suffix(".new")
                beside.write_text(head + cheap + tools)
                beside.replace(site.file)
                site.serving.send_signal(signal.SIGHUP)
                await _until(lambda: _newest(site) >= number + 2)  # noqa: B023 - awaited at once
                before = len(answers)
                await _until(lambda: len(answers) > before + 5)  # noqa: B023 - the same
            ended.set()
        # A disk that syncs for more than a quarter of a second has a call come again: no failure.
        assert not [each for each in answers if each != "200" and "budget-unavailable" not in each]
        spent = {record["tool"] for record in site.records() if record["kind"] == "call"}
        assert spent == {"search.web"}
        # Both workers have admitted the token, before and after each reload.
        grants = [each for each in site.records() if each["kind"] == "grant"]
        assert [each["grant"] for each in grants] == [agent.claims.jti]


async def test_files_that_no_worker_can_load_change_nothing(tmp_path: Path) -> None:
    """A certificate without its key, then a credential that is missing: calls go on as before."""
    with installed(tmp_path, workers=1) as site:
        headers, log = _bearer(_run(site)), site.folder / "serve.log"
        certificate, text = site.folder / "certs/gateway.pem", site.file.read_text()
        whole = certificate.read_bytes()
        secret = 'credential = { header = "authorization", file = "secret" }'

        async def is_refused(path: str) -> None:
            why = re.compile(f"WARNING agent: keeping the active configuration: .*{path}")
            await _until(lambda: why.search(log.read_text()))
            answer = await client.post("/search", json={}, headers=headers)
            assert answer.status_code == 200, answer.text

        async with site.client() as client:
            certificate.write_bytes((site.folder / "certs/machine.pem").read_bytes())
            await is_refused("gateway.pem")
            certificate.write_bytes(whole)
            site.file.write_text(text.replace("[upstream.tools]", f"[upstream.tools]\n{secret}"))
            await is_refused("secret")
            (site.folder / "secret").write_text("s3cret")
            before = _newest(site)
            await _until(lambda: _newest(site) > before)
            assert (await client.post("/search", json={}, headers=headers)).status_code == 200


async def test_killed_agent_is_outlived(tmp_path: Path) -> None:
    """SIGKILL of the agent: workers attach again by themselves, and a stream goes on meanwhile."""
    with installed(tmp_path) as site:
        agent = _run(site)
        async with (
            site.client() as client,
            client.stream("GET", "/stream", headers=_bearer(agent)) as answer,
        ):
            pieces = answer.aiter_raw()
            await anext(pieces)
            (old,) = site.children("agent")
            os.kill(old, signal.SIGKILL)
            await _until(lambda: site.children("agent") not in ([], [old]))
            await trio.to_thread.run_sync(site.run, "status", "--wait", "100")
            await anext(pieces)
            again = await client.post("/search", json={}, headers=_bearer(agent))
            assert again.status_code == 200
            await trio.to_thread.run_sync(site.ask, "revoke", agent.branch)
            assert b"branch-revoked" in b"".join([piece async for piece in pieces])


async def test_a_stream_ends_though_no_worker_was_told(tmp_path: Path) -> None:
    """The agent dies after it has revoked a branch in the table, before it tells its workers."""
    with installed(tmp_path, workers=1) as site:
        agent = _run(site)
        async with site.client() as client:
            answer = await client.post("/search", json={}, headers=_bearer(agent))
            assert answer.status_code == 200
            await trio.sleep(3 * limits.revocation_look_seconds)  # nothing is in flight meanwhile
            async with client.stream("GET", "/stream", headers=_bearer(agent)) as stream:
                text = stream.aiter_text()
                await anext(text)
                assert site.serving is not None
                site.serving.send_signal(signal.SIGSTOP)  # it starts no other agent
                os.kill(site.children("agent")[0], signal.SIGKILL)
                await _until(lambda: _revoked_in_table(site, agent))
                rest = "".join([each async for each in text])
                site.serving.send_signal(signal.SIGCONT)
    assert "revoked" in rest


def _revoked_in_table(site: Installation, agent: SubAgent) -> bool:
    """Revoke the branch in the table, as an agent does first.

    While a killed agent still holds the table, do nothing and return False.
    """
    try:
        table = OwnedTable.open(str(site.folder / "state" / "table"))
    except TableError:
        return False
    key, crew = ids.branch_key("article", agent.branch), ids.crew_key("article")
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    table.revoke(key, crew, 2**60, 3600, int(time.time()), boot_ns)
    table.close()
    return True


async def test_revocation_cuts_a_stream_at_once(tmp_path: Path) -> None:
    """`crewgate revoke` ends the stream with an event, and the receipt says when."""
    with installed(tmp_path) as site:
        agent = _run(site)
        async with (
            site.client() as client,
            client.stream("GET", "/stream", headers=_bearer(agent)) as answer,
        ):
            pieces = answer.aiter_raw()
            await anext(pieces)
            receipt = await trio.to_thread.run_sync(site.ask, "revoke", agent.branch)
            rest = b"".join([piece async for piece in pieces])
            assert b"event: error" in rest
            assert b"branch-revoked" in rest
            after = await client.post("/search", json={}, headers=_bearer(agent))
            assert after.status_code == 401
        assert receipt["streams_cut"] == 1
        assert 0 < receipt["cut_ms"] < 200
        outcomes = [record["outcome"] for record in site.records() if record["kind"] == "call"]
        assert "revoked" in outcomes


async def test_end_cuts_what_does_not_end(tmp_path: Path) -> None:
    """A stream that outlives the drain is reset, and recorded as cut by us, not by its client."""
    with installed(tmp_path) as site:
        text = site.file.read_text()
        site.file.write_text(text.replace("drain_seconds = 5", "drain_seconds = 3"))
        assert site.stop() == 0
        site.serve()
        agent = _run(site)
        async with (
            site.client() as client,
            client.stream("GET", "/stream", headers=_bearer(agent)) as answer,
        ):
            assert answer.status_code == 200
            assert await trio.to_thread.run_sync(site.stop) == 0
        calls = [record for record in site.records() if record["kind"] == "call"]
        assert [call["outcome"] for call in calls] == ["cancelled"]
        assert not [record for record in site.records() if record["kind"] == "burned"]


def _refuses(port: int) -> bool:
    """Whether the port refuses connections."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_end_waits_for_a_call(version: str, tmp_path: Path) -> None:
    """SIGTERM while a tool works: the call is answered, and `serve` ends with status 0.

    The tool answers once the port refuses connections. The client is curl: unlike httpx 0.28, it
    does not give up a call when it hears that its connection takes no further ones.
    """
    with installed(tmp_path) as site:
        header = tmp_path / "header"
        header.write_text(f"authorization: Bearer {_run(site).token()}\n")
        ca = str(site.folder / "certs" / "ca.pem")
        where = f"https://127.0.0.1:{site.port}/search"
        command = ["curl", "-sS", version, "--noproxy", "*", "--cacert", ca, "-d", "{}"]
        command += ["-H", f"@{header}", "-w", "%{http_code}", "-o", "/dev/null", where]
        assert site.serving is not None
        site.tools.send_signal(signal.SIGSTOP)
        with subprocess.Popen(command, stdout=subprocess.PIPE) as call:  # noqa: ASYNC220 - at once
            await _until(lambda: site.ask("status")["counts"]["reservations"] == 1)
            site.serving.send_signal(signal.SIGTERM)
            await _until(lambda: _refuses(site.port))
            site.tools.send_signal(signal.SIGCONT)
            answer, _ = await trio.to_thread.run_sync(call.communicate)
        assert (answer, call.returncode) == (b"200", 0)
        assert await trio.to_thread.run_sync(site.serving.wait, 30) == 0
