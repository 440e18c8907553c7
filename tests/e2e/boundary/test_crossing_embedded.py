"""An embedder beside the gateway: the same certificates, accounts and revocations."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from installation import wait_until
from two_crews import TwoCrews, call_together, two_crews

from crewgate import Denial, Permit, Reason, Verifier


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoCrews]:
    """One installation; each test has a process of its own."""
    with two_crews(tmp_path_factory.mktemp("embedded"), run="20") as serving:
        yield serving


def der(certificate: Path) -> bytes:
    """What `getpeercert(binary_form=True)` gives of it."""
    leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    return leaf.public_bytes(Encoding.DER)


def reason(verdict: Permit | Denial) -> Reason | None:
    return verdict.reason if isinstance(verdict, Denial) else None


async def test_a_run_is_one_account_in_gateway_and_embedder(site: TwoCrews) -> None:
    """20 credits: what one has admitted, the other does not admit again."""
    certificate = site.certificate()
    with Verifier.from_config(site.file) as verifier:
        peer = der(certificate)
        permitted = 0
        for _ in range(12):
            verdict = verifier.admit_blocking(None, "finance.quote", peer_certificate=peer)
            permitted += isinstance(verdict, Permit)
        assert permitted == 12
        async with site.crossing_client(certificate) as client:
            counted = await call_together([client], "/finance/quote", 20)
        assert counted[200] == 8, counted
        last = verifier.admit_blocking(None, "finance.quote", peer_certificate=peer)
        assert reason(last) is Reason.CREDITS_EXHAUSTED
        assert verifier.issuers == tuple(
            f"https://{crew}" for crew in ("orchestrator.crewgate.example", "bd.example",
                                           "finance.example", "hr.example")
        )  # fmt: skip


async def test_what_is_judged_by_certificate_is_what_the_gateway_judges_so(site: TwoCrews) -> None:
    """Tools beyond the crossing by name, all others want a token; a token wants its crew's."""
    bd = der(site.certificate("bd-2"))
    hr = der(site.certificate("hr-1", "hr"))
    token = site.orchestrator("bd").start_run(credits="9", tools=["finance.payout"]).token()
    with Verifier.from_config(site.file) as verifier:
        for given, tool, peer, expected in (
            (None, "finance.quote", bd, None),
            (None, "finance.payout", bd, Reason.TOOL_NOT_ALLOWED),
            (None, "bd.mail", bd, Reason.MISSING_TOKEN),
            (None, "search.web", bd, Reason.MISSING_TOKEN),
            (None, "hr.file", bd, Reason.MISSING_TOKEN),
            (None, "no.tool", bd, Reason.MISSING_TOKEN),
            (None, "finance.quote", hr, Reason.MISSING_TOKEN),
            (None, "finance.quote", None, Reason.MISSING_TOKEN),
            (token, "finance.payout", None, Reason.BINDING_MISMATCH),
            (token, "finance.payout", hr, Reason.BINDING_MISMATCH),
            (token, "finance.payout", bd, None),
        ):
            verdict = await verifier.admit(given, tool, peer_certificate=peer)
            assert reason(verdict) is expected, (tool, verdict)


async def test_revoking_reaches_embedders(site: TwoCrews) -> None:
    """The branch, then the certificate: the same words as at the gateway, in the table at once."""
    certificate = site.certificate("bd-3")
    peer = der(certificate)
    with Verifier.from_config(site.file) as verifier:
        permit = await verifier.admit(None, "finance.quote", peer_certificate=peer)
        assert isinstance(permit, Permit)
        site.run("revoke", permit.grant.branch)
        assert permit.revoked
        verdict = await verifier.admit(None, "finance.quote", peer_certificate=peer)
        assert reason(verdict) is Reason.BRANCH_REVOKED
        assert not verifier.peer_revoked(peer)
        site.run("ca", "revoke", str(certificate))
        assert verifier.peer_revoked(peer)
        verdict = await verifier.admit(None, "finance.quote", peer_certificate=peer)
        assert reason(verdict) is Reason.BINDING_MISMATCH


async def test_a_changed_crossing_reaches_embedders(site: TwoCrews) -> None:
    """After a reload what it names is what may be called."""
    peer = der(site.certificate("bd-4"))
    text = site.file.read_text()
    with Verifier.from_config(site.file) as verifier:
        assert reason(await verifier.admit(None, "finance.quote", peer_certificate=peer)) is None
        site.file.write_text(text.replace('"finance.quote", "finance.stream"', '"finance.payout"'))

        def says(expected: Reason | None) -> bool:
            asked = verifier.admit_blocking(None, "finance.quote", peer_certificate=peer)
            if isinstance(asked, Permit):
                asked.release()  # or asking again and again would use up the run
            return reason(asked) is expected

        wait_until(lambda: says(Reason.TOOL_NOT_ALLOWED))
        site.file.write_text(text)
        wait_until(lambda: says(None))
