"""A revoked certificate: what is open with it is closed at once, and nothing else is."""

import json
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import forged_certificates
import httpx
import trio
from command_process import crewgate
from mtls_gateway import Boundary, Leaf, bounded

from crewgate.ca.authority import Authority
from crewgate.ca.revocation_propagation import announce
from crewgate.ipc.admin_messages import RevocationReceipt

COUNT = 50
EVENT = re.compile(rb"data: ([0-9]+)\n")


class Listening:
    """One client's stream: the numbers that came, and when it was over (monotonic seconds)."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.ended = 0.0

    async def run(self, boundary: Boundary, leaf: Leaf, token: str) -> None:
        """Until it is cut, or the test has heard enough."""
        client = httpx.AsyncClient(
            verify=boundary.context(leaf.files),
            base_url=f"https://127.0.0.1:{boundary.port + 1}",
            timeout=60,
            trust_env=False,
        )
        headers = {"authorization": f"Bearer {token}"}
        async with client:
            try:
                async with client.stream("GET", "/stream?every=0.1", headers=headers) as answer:
                    assert answer.status_code == 200
                    async for piece in answer.aiter_raw():
                        self.numbers += map(int, EVENT.findall(piece))
            except httpx.TransportError:
                self.ended = time.monotonic()
            else:
                self.ended = time.monotonic()

    @property
    def is_whole(self) -> bool:
        """Every event from the first on, in order."""
        return self.numbers == list(range(len(self.numbers)))


async def _until(true: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not true():  # noqa: ASYNC110 - of many streams
            await trio.sleep(0.01)


async def test_fifty_are_closed_and_fifty_siblings_lose_nothing(tmp_path: Path) -> None:
    """All streaming over two workers; the receipt and the audit count the same fifty."""
    with bounded(tmp_path, price="0.01") as boundary:
        doomed, sibling = (
            boundary.issue(forged_certificates.bd("bd-1")),
            boundary.issue(forged_certificates.bd("bd-2")),
        )
        token = boundary.token("bd")
        theirs = [Listening() for _ in range(COUNT)]
        others = [Listening() for _ in range(COUNT)]
        async with trio.open_nursery() as nursery:
            for leaf, group in ((doomed, theirs), (sibling, others)):
                for each in group:
                    nursery.start_soon(each.run, boundary, leaf, token)
            await _until(lambda: all(len(each.numbers) > 3 for each in theirs + others))
            begun, receipt = await trio.to_thread.run_sync(_revoke, boundary, doomed)
            await _until(lambda: all(each.ended for each in theirs))
            heard = [len(each.numbers) for each in others]
            await _until(
                lambda: all(
                    len(each.numbers) > before + 5
                    for each, before in zip(others, heard, strict=True)
                )
            )
            assert not any(each.ended for each in others)
            nursery.cancel_scope.cancel()
        _show(theirs, receipt, begun)
        assert all(each.is_whole for each in theirs + others)
        assert receipt.unresponsive == 0
        assert receipt.connections_closed == receipt.calls_cut == COUNT
        _look_at(boundary, doomed)


def _revoke(boundary: Boundary, leaf: Leaf) -> tuple[float, RevocationReceipt]:
    """As `crewgate ca revoke` does it, without the start of a command; and when it began."""
    begun = time.monotonic()
    with Authority(boundary.ca) as authority:
        done = authority.revoke([leaf.entry.serial], "keyCompromise", datetime.now(UTC))
        return begun, announce(authority.register, boundary.config.state, done)


def _show(theirs: list[Listening], receipt: RevocationReceipt, begun: float) -> None:
    """Figures for a person who runs it with -s."""
    seen = sorted((each.ended - begun) * 1000 for each in theirs)
    print(
        f"\n{COUNT} streaming connections closed: from asking the CA to the end that a client sees "
        f"(register and list on the disk meanwhile) median {statistics.median(seen):.1f} ms, "
        f"max {seen[-1]:.1f} ms; the agent's receipt: {receipt.cut_ms:.1f} ms"
    )


def _look_at(boundary: Boundary, doomed: Leaf) -> None:
    """The alert for whoever comes again, and what the audit has."""
    knock = boundary.knock(doomed.files, 1, boundary.say("bd"))
    assert (knock.answer, knock.alert) == (b"", "SSLV3_ALERT_CERTIFICATE_REVOKED")
    boundary.stop()
    records = boundary.records()
    expelled = [each for each in records if each.get("verdict") == "expelled"]
    assert len(expelled) == COUNT
    assert {(each["serial"], each["orchestrator"], each["reason"]) for each in expelled} == {
        (doomed.entry.serial, "bd/bd-1", "certificate-revoked")
    }
    # The control process may have seen it pending and announced it too.
    told = {(each["target"], each["id"]) for each in records if each["kind"] == "revocation"}
    assert told == {("certificate", doomed.entry.serial)}
    cut = [each for each in records if each["kind"] == "call" and each["outcome"] == "revoked"]
    assert len(cut) == COUNT


def test_a_revocation_without_a_gateway_is_told_later(tmp_path: Path) -> None:
    """Nobody is told and nothing is lost: it is in the list at once, and asked again it is told."""
    boundary = Boundary(tmp_path)
    try:
        leaf = boundary.issue(forged_certificates.bd("bd-1"))
        done = crewgate("ca", "revoke", "-c", boundary.file, "--json", leaf.files.certificate)
        assert done.returncode == 0
        assert json.loads(done.stdout)["announced"] is False
        assert "repeat the command to close open connections" in done.stderr
        boundary.serve()
        assert boundary.knock(leaf.files, 1, boundary.say("bd")).alert == (
            "SSLV3_ALERT_CERTIFICATE_REVOKED"
        )
        other = boundary.issue(forged_certificates.bd("bd-2"))
        boundary.run("ca", "revoke", str(other.files.certificate))
        boundary.stop()
        told = {each["id"] for each in boundary.records() if each["kind"] == "revocation"}
        assert told == {leaf.entry.serial, other.entry.serial}
    finally:
        boundary.end()
