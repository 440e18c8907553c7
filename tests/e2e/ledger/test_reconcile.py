"""Ledger and audit agree to the micro-credit, however calls ended."""

import random
import ssl
import subprocess
from pathlib import Path

import trio
from installation import COMMAND, Installation, installed, wait_until

HANGUPS = 1000
AT_ONCE = 40


def _reserved(site: Installation) -> int:
    rows = site.ask("ledger", "report", "--by", "branch")["rows"]
    return sum(row["reserved_micro"] + row["leased_micro"] for row in rows)


def _agrees(site: Installation) -> bool:
    command = [*COMMAND, "ledger", "reconcile", "-c", str(site.file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


async def _hang_up(site: Installation, token: str, chance: random.Random) -> None:
    """One call of an impatient client, which leaves at any moment of it."""
    context = ssl.create_default_context(cafile=str(site.folder / "certs" / "ca.pem"))
    path = chance.choice(("POST /search", "GET /stream"))
    request = (
        f"{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
        "content-length: 2\r\n\r\n{}"
    ).encode()
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", site.port, ssl_context=context)
    length = len(request) if chance.random() < 0.7 else chance.randrange(1, len(request))
    await stream.send_all(request[:length])
    with trio.move_on_after(chance.uniform(0.0, 0.03)):
        while await stream.receive_some(65_536):
            pass
    stream.transport_stream.socket.close()


async def test_a_thousand_clients_that_hang_up_lose_nothing(tmp_path: Path) -> None:
    """At any moment of a call: reserved credit returns to zero, and each call is charged once."""
    with installed(tmp_path, price="0.01", delay=0.01) as site:
        article = site.orchestrator()
        run = article.start_run(credits="100", tools=["search.*"])
        agents = [
            article.spawn(role=f"r{n}", parent=run, tools=["search.*"], credits="20")
            for n in range(4)
        ]
        tokens = [each.token() for each in (run, *agents)]
        chance, limiter = random.Random(11), trio.CapacityLimiter(AT_ONCE)

        async def one() -> None:
            async with limiter:
                await _hang_up(site, chance.choice(tokens), chance)

        async with trio.open_nursery() as nursery:
            for _ in range(HANGUPS):
                nursery.start_soon(one)
        await trio.to_thread.run_sync(lambda: wait_until(lambda: _agrees(site), 60))
        await trio.to_thread.run_sync(lambda: wait_until(lambda: not _reserved(site), 60))
        assert _agrees(site)
        rows = site.ask("ledger", "report", "--by", "tool")["rows"]
        assert sum(row["calls"] for row in rows) > HANGUPS // 4
        (line,) = site.ask("ledger", "report", "--by", "run")["rows"]
        assert line["spent_micro"] == sum(row["spent_micro"] for row in rows) > 0
        assert line["burned_micro"] == 0
        assert site.ask("ledger", "check") == {"ok": True, "findings": []}
