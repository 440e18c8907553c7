"""Calls without a token, on a connection that a certificate of another crew has proven."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from installation import wait_until
from two_crews import TwoCrews, two_crews

QUOTE, PAYOUT, MAIL, FILE = "/finance/quote", "/finance/payout", "/bd/mail", "/hr/file"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoCrews]:
    """One installation for tests that leave it as it was."""
    with two_crews(tmp_path_factory.mktemp("crossing")) as serving:
        yield serving


@pytest.fixture(scope="module")
def certificate(site: TwoCrews) -> Path:
    """Of BD's orchestrator."""
    return site.certificate()


@pytest.mark.parametrize("http2", [True, False], ids=["h2", "http/1.1"])
async def test_a_certificate_alone_calls_what_the_crossing_names(
    site: TwoCrews, certificate: Path, http2: bool
) -> None:
    """The tool hears who calls: the crew, the orchestrator, the run; never the account's name."""
    async with site.crossing_client(certificate, http2=http2) as client:
        answer = await client.post(QUOTE, json={})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["x-crewgate-crew"] == "bd"
    assert told["x-crewgate-orchestrator"] == "bd/bd-1"
    assert told["x-crewgate-role"] == "orchestrator"
    assert told["x-crewgate-grant"].split(":")[0] == site.serial(certificate)
    assert "authorization" not in told


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        (PAYOUT, 403, "tool-not-allowed"),  # Finance's, and the crossing does not name it
        (MAIL, 401, "missing-token"),  # its own crew's
        ("/search", 401, "missing-token"),  # shared
        (FILE, 401, "missing-token"),  # of a crew that no crossing leads to
        ("/nothing", 401, "missing-token"),  # no tool: told to holders of good tokens alone
    ],
)
async def test_what_the_crossing_does_not_name(
    site: TwoCrews, certificate: Path, path: str, status: int, slug: str
) -> None:
    """Finance's other tools are refused by name; everything else wants a token as ever."""
    async with site.crossing_client(certificate) as client:
        answer = await client.post(path, json={})
    assert answer.status_code == status
    assert answer.json()["type"].endswith(slug)


@pytest.mark.parametrize("field", [{"origin": "null"}, {"sec-fetch-site": "cross-site"}])
async def test_a_web_page_does_not_cross(
    site: TwoCrews, certificate: Path, field: dict[str, str]
) -> None:
    """A browser shows the certificate of its user for any page, also for an image in it."""
    async with site.crossing_client(certificate) as client:
        answer = await client.post(QUOTE, json={}, headers=field)
    assert answer.status_code == 401
    assert answer.json()["type"].endswith("missing-token")


async def test_other_crews_do_not_cross(site: TwoCrews) -> None:
    """A certificate of Finance or HR opens nothing of Finance's without a token."""
    for crew in ("finance", "hr"):
        async with site.crossing_client(site.certificate(f"{crew}-1", crew)) as client:
            answer = await client.post(QUOTE, json={})
        assert (answer.status_code, crew) == (401, crew)


async def test_a_token_is_judged_as_a_token(site: TwoCrews, certificate: Path) -> None:
    """With one, the crossing is not asked: its scope, its credits, and the certificate's crew."""
    bd, finance = site.orchestrator("bd"), site.orchestrator("finance")
    mine = bd.start_run(credits="2", tools=["finance.payout"])
    theirs = finance.start_run(credits="2", tools=["finance.payout"])
    async with site.crossing_client(certificate, token=mine.token()) as client:
        assert (await client.post(PAYOUT, json={})).status_code == 200
        assert (await client.post(QUOTE, json={})).status_code == 403
    async with site.crossing_client(certificate, token=theirs.token()) as client:
        answer = await client.post(PAYOUT, json={})
    assert answer.json()["type"].endswith("binding-mismatch")
    wait_until(lambda: site.calls(tool="finance.payout", verdict="permit"))
    [call] = site.calls(tool="finance.payout", verdict="permit")
    assert (call["crew"], call["branch"]) == ("bd", mine.branch)
    assert call["certificate"] == site.serial(certificate)


async def test_a_malformed_credential_is_no_missing_one(site: TwoCrews, certificate: Path) -> None:
    """Two tokens, or one that is none, are refused; the certificate does not stand in for them."""
    for headers, status in (
        ([("authorization", "Bearer a"), ("authorization", "Bearer b")], 400),
        ([("authorization", "Bearer x.y.z")], 401),
    ):
        async with site.crossing_client(certificate) as client:
            answer = await client.post(QUOTE, json={}, headers=headers)
        assert answer.status_code == status
        assert not answer.json()["type"].endswith("missing-token")


async def test_the_audit_names_orchestrator_and_certificate(
    site: TwoCrews, certificate: Path
) -> None:
    """Permitted and refused calls alike; `crewgate audit` finds them by the serial."""
    async with site.crossing_client(certificate) as client:
        await client.post(QUOTE, json={})
        await client.post(PAYOUT, json={})
    serial = site.serial(certificate)
    wait_until(lambda: site.calls(tool="finance.payout", certificate=serial, verdict="deny"))
    told = site.ask("audit", "--certificate", serial.lower(), "--crew", "bd")["calls"]
    assert {row["certificate"] for row in told} == {serial}
    crossed = [row for row in told if row["role"] == "orchestrator"]
    assert {row["orchestrator"] for row in crossed} == {"bd/bd-1"}
    assert {"finance.quote", "finance.payout"} <= {row["tool"] for row in crossed}
    assert not site.ask("audit", "--certificate", "00")["calls"]
    without = site.orchestrator("article").start_run(credits="1", tools=["search.*"])
    async with site.client() as client:
        token = {"authorization": f"Bearer {without.token()}"}
        assert (await client.post("/search", json={}, headers=token)).status_code == 200
    wait_until(lambda: site.calls(branch=without.branch))
    [call] = site.calls(branch=without.branch)
    assert "certificate" not in call


async def test_connections_that_were_refused_are_listed(site: TwoCrews) -> None:
    """`audit --connections` says who was turned away before HTTP, with the certificate's serial."""
    revoked = site.certificate("bd-9")
    site.run("ca", "revoke", str(revoked))
    async with site.crossing_client(revoked) as client:
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            await client.post(QUOTE, json={})
    serial = site.serial(revoked)
    listed = site.ask("audit", "--connections", "--certificate", serial)["connections"]
    assert {row["reason"] for row in listed} == {"certificate-revoked"}
    assert serial in site.run("audit", "--connections")
