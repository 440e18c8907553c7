"""A worker process under every probe and flood: it lives, it serves others, it does not grow."""

import os
import ssl
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import trio
from hostile_requests import HTTP1, HTTP2
from http2_floods import FLOODS, MADE_YOU_RESET, broken, rapid_reset
from http2_frames import PREFACE, request
from hyperframe.frame import DataFrame
from installation import Installation, installed
from tls_listener import read_all

MIB = 2**20
# `make sanitize`: AddressSanitizer keeps freed memory for a while.
IS_SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
GROWTH_BYTES_MAX = (64 if IS_SANITIZED else 8) * MIB


def _wires() -> Iterable[tuple[str, bytes]]:
    for probe in HTTP2:
        yield "h2", PREFACE + probe()
    for flood in (rapid_reset, *MADE_YOU_RESET.values(), *[wire for wire, _ in FLOODS.values()]):
        yield "h2", flood()
    for wire, _ in HTTP1.values():
        yield "http/1.1", wire


async def _throw(site: Installation, protocol: str, wire: bytes) -> bytes:
    """Send it on a connection of its own, and read for as long as that is kept, or a moment."""
    context = ssl.create_default_context(cafile=str(site.folder / "certs" / "ca.pem"))
    context.set_alpn_protocols([protocol])
    tcp = await trio.open_tcp_stream("127.0.0.1", site.port)
    stream = trio.SSLStream(tcp, context, server_hostname="127.0.0.1", https_compatible=True)
    heard = b""

    async def read() -> None:
        nonlocal heard
        heard = await read_all(stream)
        patience.cancel()

    await stream.do_handshake()
    with trio.move_on_after(0.3) as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(wire)
    await trio.aclose_forcefully(stream)
    return heard


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


async def test_no_peer_ends_or_swells_a_worker(tmp_path: Path) -> None:
    """After each of them a stock client is served by the same process, of the same size."""
    with installed(tmp_path, workers=1) as site:
        token = site.orchestrator().start_run(credits="900", tools=["search.*"]).token()
        bearer = {"authorization": f"Bearer {token}"}
        (worker,) = site.children("gateway")
        async with site.client() as client:

            async def serves() -> None:
                answer = await client.post("/search", json={}, headers=bearer)
                assert answer.status_code == 200

            await serves()
            wires = list(_wires())
            for protocol, wire in wires:
                await _throw(site, protocol, wire)
                await serves()
            before = _resident_bytes(worker)
            for protocol, wire in wires:
                await _throw(site, protocol, wire)
            await serves()
        assert site.children("gateway") == [worker]
        assert _resident_bytes(worker) - before < GROWTH_BYTES_MAX
        assert "Traceback" not in (site.folder / "serve.log").read_text()
        assert site.stop() == 0


async def test_calls_that_their_client_breaks_are_bounded_and_accounted_for(tmp_path: Path) -> None:
    """Permitted calls that are made to be reset (CVE-2025-8671): each has its record, few are made.

    The connection's other calls and the branch's credit are as if they had been given up.
    """
    with installed(tmp_path, workers=1, delay=0.05, price="0.01") as site:
        token = site.orchestrator().start_run(credits="900", tools=["search.*"]).token()
        bearer = (b"authorization", b"Bearer " + token.encode())
        fields = [*request(b"/search", b"POST"), bearer, (b"content-length", b"70000")]
        wire = broken(lambda n: DataFrame(n, b"x", flags=["END_STREAM"]).serialize(), fields)
        await _throw(site, "h2", wire)
        async with site.client() as client:
            headers = {"authorization": f"Bearer {token}"}
            assert (await client.post("/search", json={}, headers=headers)).status_code == 200
        assert site.stop() == 0
        calls = [record for record in site.records() if record["kind"] == "call"]
        # Calls with a short body are judged when they have it: no rule on branches compares these.
        assert 1 < len(calls) < 1500
        assert {call["outcome"] for call in calls} == {"client-gone", "done"}
        assert len({call["request"] for call in calls}) == len(calls)
