"""Keys that stay in memory, and certificates that are renewed in time."""

import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_certificates import ONE
from trio.testing import MockClock

from crewgate import limits
from crewgate.ca.authority import Authority, read_request, request_pem
from crewgate.ca.certificates import new_key
from crewgate.ca.key_files import key_pem
from crewgate.config import CAConfig, Config
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import CAError
from crewgate.issuer.control_api.gateway_address import GatewayAddress
from crewgate.sidecar.credentials import Credential, RenewingCredential, issue, renewal

IDENTITY = Identity(Role.ORCHESTRATOR, "bd-1", ONE, "article")


@pytest.fixture
def ca(config: Config) -> CAConfig:
    assert config.ca is not None
    return config.ca


def address(ca: CAConfig) -> GatewayAddress:
    """A gateway that nobody calls."""
    return GatewayAddress("127.0.0.1", 1, "localhost", ca.root)


@given(st.floats(0, 2e9), st.floats(1, 1e6), st.floats(0, 1, exclude_max=True))
def test_half_of_the_life_give_or_take_a_tenth(begins: float, life: float, chance: float) -> None:
    """Never before 45 % of it is over, never after 55 %."""
    due = renewal(begins, begins + life, chance) - begins
    least = limits.run_renewal_seconds_min
    assert max(0.45 * life, least) - 1e-3 <= due <= max(0.55 * life, least) + 1e-3


def test_what_has_nothing_left_is_not_renewed_without_end() -> None:
    """A CA that is about to end signs for less and less; it is asked once in a moment."""
    assert renewal(100, 100, 0.5) == renewal(100, 90, 0.5) == 100 + limits.run_renewal_seconds_min


async def test_a_certificate_for_a_key_of_its_own(ca: CAConfig, log_lines: list[str]) -> None:
    """Signed for the request's key, for who we are; each one has another key."""
    credentials = RenewingCredential(partial(issue, ca, IDENTITY, None), address(ca))
    shown: list[ssl.SSLContext] = []
    credentials.on_renewal = shown.append
    await credentials.obtain()
    first = credentials.present
    await credentials.obtain()
    second = credentials.present
    assert first.serial != second.serial
    assert first.ends - time.time() == pytest.approx(ca.life_seconds, abs=60)
    assert first.context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert shown == [first.context, second.context]
    assert second.serial in log_lines[-1]


def test_the_signer_is_asked_with_a_request_alone(ca: CAConfig) -> None:
    """A chain comes back: leaf, then what leads to the root."""
    key = new_key()
    chain = x509.load_pem_x509_certificates(issue(ca, IDENTITY, 60, request_pem(key)))
    assert chain[0].public_key() == key.public_key()
    assert chain[0].issuer == chain[1].subject
    assert chain[0].not_valid_after_utc.timestamp() - time.time() == pytest.approx(60, abs=5)


def test_the_key_touches_no_file(ca: CAConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL is given pipes, which are gone afterwards, and no descriptor is left."""
    seen: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, certificate: str, key: str) -> None:
        seen.extend(str(Path(path).readlink()) for path in (certificate, key))
        load(self, certificate, key)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    key = new_key()
    Credential(issue(ca, IDENTITY, None, request_pem(key)), key_pem(key), address(ca))
    assert len(seen) == 2
    assert all(target.startswith("pipe:") for target in seen)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_chain_of_another_key_is_refused(ca: CAConfig) -> None:
    """A signer that certifies something else is told of, not used."""
    chain = issue(ca, IDENTITY, None, request_pem(new_key()))
    with pytest.raises(CAError, match="cannot be used"):
        Credential(chain, key_pem(new_key()), address(ca))
    with pytest.raises(CAError, match="cannot be used"):
        Credential(b"nonsense", key_pem(new_key()), address(ca))


class Signer:
    """Signs as the CA does; fails as often as it is told."""

    def __init__(self, ca: CAConfig) -> None:
        self._ca = ca
        self._offset = time.time() - trio.current_time()
        self.failures = 0
        self.times: list[float] = []

    def sign(self, request: bytes) -> bytes:
        self.times.append(trio.current_time())
        if self.failures:
            self.failures -= 1
            raise CAError("the disk is full")
        with Authority(self._ca) as authority:
            now = datetime.fromtimestamp(self._offset + trio.current_time(), UTC)
            entry = authority.issue(IDENTITY, read_request(request), now, life_seconds=600)
            return authority.chain(entry)


async def test_renewal_goes_on_and_survives_failures(
    ca: CAConfig,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[str],
) -> None:
    """At half of each life; a failure is said, tried again soon, and the present one stays.

    Only the module's own clock is replaced: other threads of this process need theirs. The signer
    runs in no thread, during which the clock would jump.
    """

    async def inline(function: Callable[[bytes], bytes], request: bytes) -> bytes:
        return function(request)

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    offset = time.time() - trio.current_time()
    clock = SimpleNamespace(time=lambda: offset + trio.current_time())
    monkeypatch.setattr("crewgate.sidecar.credentials.time", clock)
    signer = Signer(ca)
    credentials = RenewingCredential(signer.sign, address(ca))
    await credentials.obtain()
    first = credentials.present
    with trio.move_on_after(340):
        await credentials.renew_for_ever()
    assert len(signer.times) == 2
    assert 269 <= signer.times[1] - signer.times[0] <= 331
    assert credentials.present is not first
    signer.failures = 3
    second = credentials.present
    with trio.move_on_after(360):
        await credentials.renew_for_ever()
    assert credentials.present is not second
    assert [b - a for a, b in zip(signer.times[2:], signer.times[3:], strict=False)][
        :3
    ] == pytest.approx([limits.run_retry_seconds] * 3)
    assert sum("the disk is full" in line for line in log_lines) == 3
