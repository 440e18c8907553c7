"""A worker and the status of certificates: whom it asks, and what a revocation makes it forget."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from crewgate.cli.commands.init import write_all
from crewgate.config import load
from crewgate.core.x509.ocsp_result import (
    CertificateStatus,
    GoodStatus,
    UndeterminedReason,
    UndeterminedStatus,
)
from crewgate.gateway.worker.config_snapshot import ConfigSnapshot
from crewgate.gateway.worker.worker import Worker
from crewgate.ipc.attach_messages import RevocationNotice


class Inquiry:
    """Remembers what it was asked for and told to forget."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self.forgotten: list[bytes] = []

    async def check(self, key: bytes, certificate: bytes) -> CertificateStatus:
        self.asked.append((key, certificate))
        return GoodStatus(1.0)

    def forget(self, keys: Iterable[bytes]) -> None:
        self.forgotten += keys

    async def close(self) -> None:
        """Nothing is open."""


class Sink:
    """Takes no records."""

    metrics = None

    def write(self, record: object) -> None:
        """Fail: nothing here has a record."""
        raise AssertionError(record)


@pytest.fixture
def worker(tmp_path: Path, log_lines: list[str]) -> Iterator[Worker]:
    """One that has nothing to log."""
    write_all(tmp_path / "gateway", 9000)
    config = load(tmp_path / "gateway" / "crewgate.toml")
    yield Worker(config, 0, Sink())  # type: ignore[arg-type]
    assert not log_lines


def prepared(worker: Worker, inquiry: Inquiry) -> ConfigSnapshot:
    """A configuration of which only the inquiry is looked at."""
    return ConfigSnapshot(worker._config, None, None, {}, (), inquiry)  # type: ignore[arg-type]


async def test_the_configuration_in_force_says_whom_to_ask(worker: Worker) -> None:
    """Nobody before the first, and then whom the last one names."""
    assert await worker._check_status(b"key", b"der") == UndeterminedStatus(
        UndeterminedReason.UNREACHABLE
    )
    first, second = Inquiry(), Inquiry()
    for inquiry in (first, second):
        worker._prepared = prepared(worker, inquiry)
        assert await worker._check_status(b"key", b"der") == GoodStatus(1.0)
        assert inquiry.asked == [(b"key", b"der")]
    assert len(first.asked) == 1


def test_a_push_has_what_was_asked_forgotten_at_once(worker: Worker) -> None:
    """The keys are those of the table, whatever they stand for."""
    keys = [b"a" * 16, b"b" * 16]
    worker.revoked(
        RevocationNotice(id=1, keys=keys)
    )  # nobody was asked yet, and nothing is to forget
    inquiry = Inquiry()
    worker._prepared = prepared(worker, inquiry)
    worker.revoked(RevocationNotice(id=2, keys=keys))
    assert inquiry.forgotten == keys
