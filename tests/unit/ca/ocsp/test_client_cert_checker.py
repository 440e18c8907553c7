"""A worker's question to an issuer, as one configuration has it: who is asked, and what is said."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing
from log_lines import logged
from ocsp_world import HTTPResponder, World, der, serving

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca.ocsp.client_cert_checker import ClientCertOCSPChecker
from crewgate.ca.ocsp.responder import Responder
from crewgate.config import CAConfig, OCSPClientConfig
from crewgate.core.x509.ocsp_result import GoodStatus, UndeterminedReason, UndeterminedStatus
from crewgate.errors import ConfigurationError
from crewgate.runtime.process_log import RepetitionFilter

WORLD = World(datetime.now(UTC).replace(microsecond=0))
LEAF = der(WORLD.leaf.certificate)


@pytest.fixture
def ca(tmp_path: Path) -> CAConfig:
    """Public files of a CA; its folder is not there, and nobody misses it."""
    (tmp_path / "certs").mkdir()
    root = tmp_path / "certs" / "ca.pem"
    root.write_bytes(WORLD.root.certificate_pem)
    (tmp_path / "certs" / "issuing.pem").write_bytes(WORLD.issuing.certificate_pem)
    return CAConfig(tmp_path / "ca", root, tmp_path / "certs" / "crl.pem", "crewgate.internal")


async def test_it_asks_in_the_name_of_the_issuing_ca(
    ca: CAConfig, tmp_path: Path, log_lines: list[str]
) -> None:
    """Our checker, our transport, our responder: good, and quietly so."""
    with CertificateDB(tmp_path / "issued.sqlite", is_new=True) as register:
        WORLD.enter(register, WORLD.leaf)
        responder = Responder(WORLD.issuing, register)
        server = HTTPResponder(lambda data: responder.answer(data, datetime.now(UTC)))
        with serving(server):
            inquiry = ClientCertOCSPChecker(ca, OCSPClientConfig(server.url))
            assert isinstance(await inquiry.check(b"", LEAF), GoodStatus)
            assert isinstance(await inquiry.check(b"", LEAF), GoodStatus)
            assert len(server.heads) == 1
            inquiry.forget([b""])
            assert isinstance(await inquiry.check(b"", LEAF), GoodStatus)
            assert len(server.heads) == 2
            await inquiry._fetcher.close()
    assert not log_lines


async def test_a_doubt_is_said_seldom_and_counted(
    ca: CAConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator hears why whoever comes is refused, and not once for each."""
    monkeypatch.setattr(limits, "ocsp_doubt_seconds", 0.0)
    inquiry = ClientCertOCSPChecker(
        ca, OCSPClientConfig("http://localhost/ocsp", tmp_path / "away")
    )
    seconds = iter([0.0, 1.0, 2.0, limits.log_repeat_seconds])
    with logged(RepetitionFilter(now=lambda: next(seconds))) as lines:
        for _ in range(4):
            status = await inquiry.check(b"", LEAF)
            assert isinstance(status, UndeterminedStatus)
            assert status.flaw is UndeterminedReason.UNREACHABLE
    first, second = lines
    assert first == f"OCSP at unix:{tmp_path}/away: responder-unreachable: {status.detail}"
    assert second.endswith("; 2 more since the last of these lines")


async def test_it_is_closed_when_nobody_can_wait_any_more(
    ca: CAConfig, autojump_clock: trio.testing.MockClock
) -> None:
    """A reload cuts off no question: each has its deadline."""
    inquiry = ClientCertOCSPChecker(ca, OCSPClientConfig("http://localhost:1/ocsp"))
    begin = trio.current_time()
    await inquiry.close()
    assert trio.current_time() - begin == limits.ocsp_seconds_max


def test_without_the_issuing_certificate_it_says_where_it_belongs(ca: CAConfig) -> None:
    """No configuration is put in force that could only refuse everybody."""
    ca.issuing.unlink()
    with pytest.raises(ConfigurationError, match=r"certs/issuing\.pem: .* is missing: make it"):
        ClientCertOCSPChecker(ca, OCSPClientConfig("http://localhost/ocsp"))


def test_one_that_would_ask_the_same_goes_on(ca: CAConfig, tmp_path: Path) -> None:
    """Over a reload, with all that it has heard; another file or responder wants another one."""
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    certificate.write_bytes(WORLD.leaf.certificate_pem)
    key.write_bytes(WORLD.leaf.key_pem)
    responder = OCSPClientConfig("https://localhost/ocsp", None, certificate, key)
    inquiry = ClientCertOCSPChecker(ca, responder)
    assert inquiry.is_for(ca, responder)
    assert not inquiry.is_for(
        ca, OCSPClientConfig("https://localhost:1/ocsp", None, certificate, key)
    )
    certificate.write_bytes(WORLD.leaf.certificate_pem + b"\n")
    assert not inquiry.is_for(ca, responder)
    certificate.write_bytes(WORLD.leaf.certificate_pem)
    assert inquiry.is_for(ca, responder)
    ca.issuing.unlink()
    assert not inquiry.is_for(ca, responder)
