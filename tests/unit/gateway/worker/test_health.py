"""What a worker reports of its health: audit, certificates, lists of the revoked, descriptors."""

import datetime as dt
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from leaf_certificates import HOUR, issuing, now

from crewgate import limits
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.ca.crl import make_crl
from crewgate.core.health import ComponentHealth, HealthState
from crewgate.core.x509 import crl_times
from crewgate.gateway.worker.health import (
    WorkerHealth,
    bounded,
    certificate_fact,
    list_fact,
    upstream_fact,
)

DAY = 86_400


def _face(dates: tuple[int, int] | None, clients: Any = None) -> Any:
    section = SimpleNamespace(name="agents", certificate=Path("server.pem"))
    return SimpleNamespace(section=section, dates=dates, clients=clients)


def _listeners(*faces: Any, exhausted: float = -math.inf) -> Any:
    return SimpleNamespace(prepared=lambda: list(faces), exhausted_at=lambda: exhausted)


@pytest.mark.parametrize(
    ("begin", "end", "state", "says"),
    [
        (0, 90 * DAY, HealthState.OK, ""),
        (-400 * DAY, 29 * DAY + 1, HealthState.DEGRADED, "expires in 29 days"),
        (-400 * DAY, 31 * DAY, HealthState.OK, ""),
        (
            -2 * 3600,
            3 * 3600,
            HealthState.OK,
            "",
        ),  # one that lives for hours is renewed within them
        (-3 * 3600, 3600, HealthState.DEGRADED, "expires in 60 minutes"),
        (-DAY, -7200, HealthState.FAILED, "expired 2.0 hours ago"),
        (60, DAY, HealthState.FAILED, "not valid yet"),
    ],
)
def test_a_listeners_certificate_is_warned_of_before_its_end(
    begin: int, end: int, state: HealthState, says: str
) -> None:
    """From 30 days on, or the last third of a shorter life; then clients refuse it."""
    fact = certificate_fact(_face((begin, end)), 0)
    assert (fact.state, fact.refuses) == (state, state is HealthState.FAILED)
    assert says in fact.why


def test_dates_that_cannot_be_told_are_no_alarm() -> None:
    """OpenSSL takes the file; it is not for us to refuse."""
    assert certificate_fact(_face(None), 0).state is HealthState.OK


@pytest.mark.parametrize("dead", [0, 500])
def test_the_times_of_a_list_stand_at_its_beginning(dead: int) -> None:
    """However long it is: 4 KiB of it are enough, and say what the whole says."""
    made = now().replace(microsecond=0)
    entries = [(f"{number + 1:032X}", 1_700_000_000, "") for number in range(dead)]
    pem = make_crl(issuing(), entries, 7, made)
    assert (len(pem) > crl_times.HEAD_BYTES) is (dead > 0)
    times = crl_times.read_times(pem[: crl_times.HEAD_BYTES])
    begin = made - dt.timedelta(seconds=limits.certificate_backdate_seconds)
    end = made + dt.timedelta(seconds=limits.crl_seconds)
    assert times == (int(begin.timestamp()), int(end.timestamp()))


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n",
        b"-----BEGIN X509 CRL-----\n",
        b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
        b"-----BEGIN X509 CRL-----\nMIIBAg==\n-----END X509 CRL-----\n",
        b"-----BEGIN X509 CRL-----\n\xff\xff\xff\xff",
    ],
)
def test_what_is_no_list_is_refused(pem: bytes) -> None:
    """A ValueError, whatever it is."""
    with pytest.raises(ValueError, match=r"."):
        crl_times.read_times(pem)


@pytest.mark.parametrize(
    ("left", "state", "says"),
    [
        (20 * 3600, HealthState.OK, ""),
        (5 * 3600, HealthState.DEGRADED, "not being renewed, and expires in 5.0 hours"),
        (-60, HealthState.FAILED, "new client certificates are refused"),
    ],
)
def test_a_list_that_is_not_renewed_is_told_of(left: int, state: HealthState, says: str) -> None:
    """Before its end, so that somebody can act; after it every new connection is refused."""
    times = crl_times.CRLTimes(left - DAY, left)
    for refuses in (True, False):
        fact = list_fact("agents", Path("crl.pem"), times, 0, refuses=refuses)
        assert fact.state is state
        assert says in fact.why
        assert fact.refuses is (refuses and state is HealthState.FAILED)


def test_a_worker_reports_all_its_parts(tmp_path: Path) -> None:
    """The list is read again when its file is another; one that is none is degraded."""
    path = tmp_path / "crl.pem"
    path.write_bytes(make_crl(issuing(), [], 1, now() - 30 * HOUR))
    writer = AuditWriter(tmp_path / "audit", "worker-0")
    health = WorkerHealth(AuditRecorder(writer))
    clients = SimpleNamespace(crl=path, is_required=True)
    listeners = _listeners(_face((0, 2**33), clients))
    wall = now().timestamp()

    def found() -> dict[str, ComponentHealth]:
        return {fact.component: fact for fact in health.facts(listeners, [], wall, 100.0)}

    name = "CRL of listener agents"
    assert found()[name].refuses
    assert {fact.state for key, fact in found().items() if key != name} == {HealthState.OK}
    path.write_bytes(make_crl(issuing(), [], 2, now()))
    assert found()[name].state is HealthState.OK
    path.write_bytes(b"?")
    assert found()[name].state is HealthState.DEGRADED
    path.unlink()
    assert found()[name].state is HealthState.DEGRADED
    health.trouble = "cannot serve: server.pem is missing"
    assert found()["configuration of the workers"].refuses
    listeners = _listeners(exhausted=95.0)
    assert found()["descriptors"].refuses
    listeners = _listeners(exhausted=100.0 - limits.health_silence_seconds)
    assert found()["descriptors"].state is HealthState.OK
    writer.close()
    assert found()["audit"].refuses
    health = WorkerHealth(AuditRecorder(writer, refuses_when_full=False))
    assert (found()["audit"].state, found()["audit"].refuses) == (HealthState.DEGRADED, False)


def test_an_upstream_without_a_server_is_told_of() -> None:
    """By its name, with the last error; the gateway is ready for the other tools."""
    pool = SimpleNamespace(upstream=SimpleNamespace(name="search"), unavailable_reason="")
    assert upstream_fact(pool).state is HealthState.OK  # type: ignore[arg-type]
    pool.unavailable_reason = "tools:80 at 192.0.2.1: Connection refused"
    fact = upstream_fact(pool)  # type: ignore[arg-type]
    assert (fact.component, fact.state, fact.refuses) == (
        "upstream search",
        HealthState.DEGRADED,
        False,
    )
    assert "192.0.2.1: Connection refused" in fact.why
    assert "reached from here" in fact.mend


def test_a_report_is_bounded_and_keeps_the_worst() -> None:
    """Of very many listeners."""
    most = limits.health_facts_max
    facts = [ComponentHealth(f"{number}") for number in range(2 * most)]
    facts.append(ComponentHealth("worst", HealthState.FAILED))
    assert len(bounded(facts)) == most
    assert bounded(facts)[0].component == "worst"
