"""What ends calls on a certificate: the run's branch, the certificate, the orchestrator."""

import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from command_process import crewgate
from installation import wait_until
from revocation_targets import orchestrator
from two_crews import TwoCrews, two_crews

from crewgate.ipc.admin_client import AdminClient

QUOTE = "/finance/quote"

# httpx leaves its own generators behind where a stream is not read to its end.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Async generator 'httpx:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoCrews]:
    """One installation; each test has orchestrators of its own."""
    with two_crews(tmp_path_factory.mktemp("ends")) as serving:
        yield serving


@asynccontextmanager
async def streaming(
    site: TwoCrews, certificate: Path
) -> AsyncIterator[tuple[httpx.AsyncClient, AsyncIterator[bytes], str]]:
    """A client with an open stream of Finance's; its pieces, and the branch of the run."""
    async with site.crossing_client(certificate) as client:
        branch = (await client.post(QUOTE, json={})).json()["x-crewgate-branch"]
        async with (
            client.stream("GET", "/stream/finance") as stream,
            aclosing(stream.aiter_bytes()) as pieces,
        ):
            await anext(pieces)
            yield client, pieces, branch


async def rest(pieces: AsyncIterator[bytes]) -> bytes:
    """What comes until the end, or until the connection is gone."""
    told = b""
    try:
        async for piece in pieces:
            told += piece
    except httpx.HTTPError:
        pass
    return told


async def test_revoking_the_branch_ends_the_run(site: TwoCrews) -> None:
    """Its stream is told so, its calls are refused; another process of the name goes on."""
    mine, other = site.certificate("bd-1"), site.certificate("bd-1")
    async with (
        streaming(site, mine) as (client, pieces, branch),
        streaming(site, other) as (_, others, _),
    ):
        receipt = site.ask("revoke", branch)
        assert (receipt["crew"], receipt["streams_cut"]) == ("bd:finance", 1)
        assert b"branch-revoked" in await rest(pieces)
        answer = await client.post(QUOTE, json={})
        assert answer.status_code == 401
        assert answer.json()["type"].endswith("branch-revoked")
        assert await anext(others)
    # By the crew that the audit names, too; a renewed certificate is still the same run.
    assert site.ask("revoke", branch, "--crew", "bd")["crew"] == "bd:finance"
    site.run("ca", "renew", str(mine))
    async with site.crossing_client(mine) as client:
        assert (await client.post(QUOTE, json={})).status_code == 401
    [row] = [row for row in site.ask("tree")["branches"] if row["branch"] == branch]
    assert (row["state"], row["orchestrator"]) == ("revoked", "bd/bd-1")


async def test_after_the_ledger_is_lost_the_crew_of_the_audit_ends_the_run(tmp_path: Path) -> None:
    """As `ledger reconcile` names it; a machine with a new table has seen no run and no account."""
    with two_crews(tmp_path, workers=1) as site:
        certificate, state = site.certificate("bd-1"), site.folder / "state"
        async with site.crossing_client(certificate) as client:
            branch = (await client.post(QUOTE, json={})).json()["x-crewgate-branch"]
        assert site.stop() == 0
        for path in (state / "table", *state.glob("ledger.db*")):
            path.unlink()
        site.run("ledger", "accept")
        site.serve()
        done = crewgate("ledger", "reconcile", "-c", site.file, "--json")
        [row] = [row for row in json.loads(done.stdout)["differences"] if row["branch"] == branch]
        receipt = site.ask("revoke", branch, "--crew", row["crew"])
        assert receipt["crew"] == row["crew"] == "bd"
        async with site.crossing_client(certificate) as client:
            answer = await client.post(QUOTE, json={})
        assert answer.status_code == 401
        assert answer.json()["type"].endswith("branch-revoked")
        told = [each for each in site.records() if each["kind"] == "revocation"]
        assert [(each["crew"], each["id"]) for each in told] == [("bd", branch)]


async def test_revoking_the_certificate_closes_its_connection(site: TwoCrews) -> None:
    """And with it the stream; the run is not ended for another certificate of the process."""
    certificate = site.certificate("bd-2")
    async with streaming(site, certificate) as (_, pieces, branch):
        told = site.ask("ca", "revoke", str(certificate))
        assert told["connections_closed"] == 1
        await rest(pieces)
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        async with site.crossing_client(certificate) as client:
            await client.post(QUOTE, json={})
    wait_until(lambda: site.calls(branch=branch, outcome="revoked"))


async def test_revoking_the_orchestrator_closes_what_was_issued_until_then(site: TwoCrews) -> None:
    """Every certificate of the name, known to nobody or not; a later one is a new beginning."""
    mine, spare = site.certificate("bd-3"), site.certificate("bd-3")
    sibling = site.certificate("bd-4")
    async with (
        streaming(site, mine) as (_, pieces, branch),
        streaming(site, sibling) as (_, others, _),
    ):
        with AdminClient(site.folder / "state") as owner:
            receipt = owner.revoke([orchestrator("bd/bd-3", "bd")])
        revoked_at = time.time()
        assert receipt.connections_closed == 1
        await rest(pieces)
        assert await anext(others)
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        async with site.crossing_client(spare) as client:
            await client.post(QUOTE, json={})
    [row] = [row for row in site.ask("tree")["branches"] if row["branch"] == branch]
    assert row["state"] == "revoked"
    listed = site.ask("audit", "--connections", "--crew", "bd")["connections"]
    reasons = {(row["verdict"], row["serial"]): row["reason"] for row in listed}
    assert reasons["expelled", site.serial(mine)] == "certificate-revoked"
    assert reasons["refused", site.serial(spare)] == "certificate-revoked"
    wait_until(lambda: int(time.time()) > int(revoked_at))
    async with site.crossing_client(site.certificate("bd-3")) as client:
        assert (await client.post(QUOTE, json={})).status_code == 200


async def test_a_call_ends_with_the_certificate(site: TwoCrews) -> None:
    """A stream that it alone carries is told so at its end, and no call follows."""
    prefix = site.folder / "short"
    asked = ["--role", "orchestrator", "--crew", "bd", "--name", "bd-5", "--life", "6s"]
    site.run("ca", "issue", *asked, "--out", str(prefix))
    async with streaming(site, prefix.with_suffix(".pem")) as (client, pieces, _):
        assert b"token-expired" in await rest(pieces)
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            await client.post(QUOTE, json={})
