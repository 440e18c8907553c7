"""The health of a worker: what keeps it from serving calls, or soon will.

`WorkerHealth.facts` lists all of it; the worker reports it to the agent once a second. See
`core/health`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from crewgate import limits
from crewgate.audit.recorder import AuditRecorder
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.core.x509 import crl_times
from crewgate.core.x509.crl_times import CRLTimes
from crewgate.gateway.worker.config_snapshot import PreparedListener
from crewgate.gateway.worker.listeners import Listeners
from crewgate.runtime.cached_file import CachedFile
from crewgate.upstream.pool import UpstreamPool

_DAY = 86_400


class WorkerHealth:
    """Collects the health facts of one worker.

    `trouble` says why the configuration of the agent cannot be loaded; empty if it is loaded.
    """

    def __init__(self, sink: AuditRecorder) -> None:
        self._sink = sink
        self._crls: dict[Path, CachedFile[CRLTimes]] = {}
        self.trouble = ""

    def facts(
        self, listeners: Listeners, pools: Iterable[UpstreamPool], wall: float, now: float
    ) -> Iterator[ComponentHealth]:
        """Yield the facts at `wall` (seconds since 1970) and `now` (Trio's clock)."""
        yield self._sink.health("audit")
        yield self._loading()
        yield from map(upstream_fact, pools)
        yield _descriptors(listeners, now)
        for prepared in listeners.prepared():
            yield certificate_fact(prepared, wall)
            if (clients := prepared.clients) is not None:
                name, times = prepared.section.name, self._times(clients.crl)
                yield list_fact(name, clients.crl, times, wall, refuses=clients.is_required)

    def _loading(self) -> ComponentHealth:
        name = "configuration of the workers"
        if not self.trouble:
            return ok(name)
        return failed(name, self.trouble, "see `crewgate check`", logged=True)

    def _times(self, path: Path) -> CRLTimes | None:
        return self._crls.setdefault(path, CachedFile(path, _read_times)).value()


def _read_times(path: Path) -> CRLTimes | None:
    try:
        with path.open("rb") as file:
            return crl_times.read_times(file.read(crl_times.HEAD_BYTES))
    except ValueError:
        return None


def certificate_fact(prepared: PreparedListener, wall: float) -> ComponentHealth:
    """Return whether clients accept the certificate of a listener, by its dates."""
    name = f"certificate of listener {prepared.section.name}"
    if prepared.dates is None:
        return ok(name)
    begin, end = prepared.dates
    mend = f"put a new one in {prepared.section.certificate}; the worker loads it by itself"
    if wall >= end:
        return failed(name, f"it expired {_span(wall - end)} ago; clients refuse it", mend)
    if wall < begin:
        return failed(
            name, "it is not valid yet; clients refuse it", "compare this machine's clock"
        )
    if end - wall < min(limits.certificate_warning_seconds, (end - begin) / 3):
        return degraded(name, f"it expires in {_span(end - wall)}", mend)
    return ok(name)


def list_fact(
    listener: str, path: Path, times: CRLTimes | None, wall: float, *, refuses: bool
) -> ComponentHealth:
    """Return whether the CRL of a listener is fresh.

    `refuses`: without a fresh one the listener refuses all new connections.
    """
    name = f"CRL of listener {listener}"
    mend = (
        "start the control process, here or where the CA's key is; or renew it: `crewgate ca crl`"
    )
    if times is None:
        return degraded(name, f"{path} cannot be read; the previous CRL is kept", mend)
    if wall >= times.end:
        why = f"it expired {_span(wall - times.end)} ago: new client certificates are refused"
        return failed(name, why, mend, refuses=refuses)
    if times.end - wall < (times.end - times.begin) / 4:
        return degraded(
            name, f"it is not being renewed, and expires in {_span(times.end - wall)}", mend
        )
    return ok(name)


def upstream_fact(pool: UpstreamPool) -> ComponentHealth:
    """Return whether any server of an upstream can be called."""
    name = f"upstream {pool.upstream.name}"
    if not pool.unavailable_reason:
        return ok(name)
    why = f"none of its servers is available, so its tools answer 503: {pool.unavailable_reason}"
    mend = "check that it runs and can be reached from here, and that its url is right"
    return degraded(name, why, mend)


def _descriptors(listeners: Listeners, now: float) -> ComponentHealth:
    if now - listeners.exhausted_at() >= limits.health_silence_seconds:
        return ok("descriptors")
    why = "none is left, so new connections have to wait"
    return failed("descriptors", why, "raise the limit of open files (ulimit -n, LimitNOFILE=)")


def _span(seconds: float) -> str:
    if seconds >= 2 * _DAY:
        return f"{seconds // _DAY:.0f} days"
    return f"{seconds / 3600:.1f} hours" if seconds >= 7200 else f"{seconds // 60:.0f} minutes"  # noqa: PLR2004


def bounded(facts: Iterable[ComponentHealth]) -> list[ComponentHealth]:
    """Return as many facts as one report holds, the worst first."""
    found = sorted(facts, key=lambda fact: -fact.state.rank)
    return found[: limits.health_facts_max]
