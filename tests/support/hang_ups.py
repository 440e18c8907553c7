"""Clients that leave at any moment of a call, and books that must agree afterwards."""

import random
import ssl
from collections.abc import Sequence

import trio
from command_process import crewgate
from installation import Premises, wait_until
from search_depth import deep

from crewgate.issuer import Orchestrator

HANG_UPS = deep(400)
AT_ONCE = 40
PATIENCE_MAX = 10.0  # seconds

Call = tuple[str, bytes]  # method and path, and the body


async def hang_up_often(
    site: Premises,
    tools: Sequence[str],
    calls: Sequence[Call],
    *,
    seed: int,
    whole: float,
    patience: float,
) -> None:
    """A run of five branches with such calls; returns when reserved credit is back at zero.

    `whole` is the part of them that send all of their request; `patience` is in seconds. On a busy
    machine nearly all are gone before their calls begin: then others come, who have more patience.
    """
    article, chance = site.orchestrator(), random.Random(seed)
    while True:
        tokens = _tokens(article, tools)
        await _hang_up(site, tokens, calls, chance, whole, patience)
        rows = site.ask("ledger", "report", "--by", "tool")["rows"]
        if sum(row["calls"] for row in rows) > HANG_UPS // 4:
            return
        patience *= 2
        assert patience < PATIENCE_MAX


def _tokens(article: Orchestrator, tools: Sequence[str]) -> list[str]:
    """Of a new run and its four branches."""
    run = article.start_run(credits="900", tools=list(tools))
    agents = [
        article.spawn(role=f"r{number}", parent=run, tools=list(tools), credits="200")
        for number in range(4)
    ]
    return [each.token() for each in (run, *agents)]


async def _hang_up(
    site: Premises,
    tokens: Sequence[str],
    calls: Sequence[Call],
    chance: random.Random,
    whole: float,
    patience: float,
) -> None:
    limiter = trio.CapacityLimiter(AT_ONCE)
    context = ssl.create_default_context(cafile=str(site.folder / "certs" / "ca.pem"))

    async def one() -> None:
        async with limiter:
            token = chance.choice(tokens)
            request = _request(token, *chance.choice(calls))
            stream = await trio.open_ssl_over_tcp_stream(
                "127.0.0.1", site.port, ssl_context=context
            )
            is_whole = chance.random() < whole
            length = len(request) if is_whole else chance.randrange(1, len(request))
            await stream.send_all(request[:length])
            with trio.move_on_after(chance.uniform(0.0, patience)):
                while await stream.receive_some(65_536):
                    pass
            stream.transport_stream.socket.close()

    async with trio.open_nursery() as nursery:
        for _ in range(HANG_UPS):
            nursery.start_soon(one)
    await trio.to_thread.run_sync(lambda: wait_until(lambda: _agrees(site), 60))
    await trio.to_thread.run_sync(lambda: wait_until(lambda: not _reserved(site), 60))
    assert _agrees(site)
    assert site.ask("ledger", "check") == {"ok": True, "findings": []}


def _agrees(site: Premises) -> bool:
    return crewgate("ledger", "reconcile", "-c", site.file).returncode == 0


def _reserved(site: Premises) -> int:
    return sum(row["reserved_micro"] for row in site.ask("tree")["branches"])


def _request(token: str, target: str, body: bytes) -> bytes:
    head = f"{target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (head.encode(), len(body), body)
