"""The health of a worker: what keeps it from answering calls, or soon will.

`facts` is the one list; the agent hears it once a second. See `core/health`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from crewgate import limits
from crewgate.audit.sink import AuditSink
from crewgate.core.health import HealthFact, degraded, failed, ok
from crewgate.core.x509 import crl
from crewgate.gateway.worker.config_snapshot import PreparedListener
from crewgate.gateway.worker.listeners import Listeners
from crewgate.upstream import UpstreamPool

_DAY = 86_400


class WorkerHealth:
    """Knows the parts of one worker that can fail. `trouble`: why it cannot load what it should."""

    def __init__(self, sink: AuditSink) -> None:
        self._sink = sink
        self._lists: dict[Path, tuple[tuple[int, ...], crl.CRLTimes | None]] = {}
        self.trouble = ""

    def __repr__(self) -> str:
        return f"<WorkerHealth trouble={self.trouble!r}>"

    def facts(
        self, listeners: Listeners, pools: Iterable[UpstreamPool], wall: float, now: float
    ) -> Iterator[HealthFact]:
        """All that this worker reports at `wall` (seconds since 1970) and `now` (Trio's clock)."""
        yield self._sink.health("audit")
        yield self._loading()
        yield from map(upstream_fact, pools)
        yield _descriptors(listeners, now)
        for prepared in listeners.prepared():
            yield certificate_fact(prepared, wall)
            if prepared.clients is not None:
                yield self._list(prepared, wall)

    def _loading(self) -> HealthFact:
        name = "configuration of the workers"
        if not self.trouble:
            return ok(name)
        return failed(name, self.trouble, "see `crewgate check`", logged=True)

    def _list(self, prepared: PreparedListener, wall: float) -> HealthFact:
        if prepared.clients is None:
            raise AssertionError("asked for listeners alone that want certificates")
        path = prepared.clients.crl
        is_required = prepared.clients.is_required
        return list_fact(prepared.section.name, path, self._times(path), wall, refuses=is_required)

    def _times(self, path: Path) -> crl.CRLTimes | None:
        """Read again only if the file is another; None if it cannot be read."""
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            known = self._lists.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            with path.open("rb") as file:
                times: crl.CRLTimes | None = crl.read_times(file.read(crl.HEAD_BYTES))
        except OSError:
            return None
        except ValueError:
            times = None
        self._lists[path] = stamp, times
        return times


def certificate_fact(prepared: PreparedListener, wall: float) -> HealthFact:
    """Whether clients accept the certificate of a listener, by its dates."""
    name = f"certificate of listener {prepared.section.name}"
    if prepared.dates is None:
        return ok(name)
    begin, end = prepared.dates
    mend = f"put another in {prepared.section.certificate}; it is taken up by itself"
    if wall >= end:
        return failed(name, f"it has ended {_ago(wall - end)} ago; clients refuse it", mend)
    if wall < begin:
        return failed(name, "it is not valid yet; clients refuse it", "compare the clocks")
    if end - wall < min(limits.certificate_warning_seconds, (end - begin) / 3):
        return degraded(name, f"it ends in {_ago(end - wall)}", mend)
    return ok(name)


def list_fact(
    listener: str, path: Path, times: crl.CRLTimes | None, wall: float, *, refuses: bool
) -> HealthFact:
    """Whether a listener can tell who is revoked; `refuses` everybody new if it cannot."""
    name = f"list of the revoked of listener {listener}"
    mend = "see that the control process runs, here or where the CA's key is; or `crewgate ca crl`"
    if times is None:
        return degraded(name, f"{path} cannot be read; the list before it stays", mend)
    if wall >= times.end:
        why = f"it has ended {_ago(wall - times.end)} ago: no new certificate is accepted"
        return failed(name, why, mend, refuses=refuses)
    if times.end - wall < (times.end - times.begin) / 4:
        return degraded(name, f"it is not renewed, and ends in {_ago(times.end - wall)}", mend)
    return ok(name)


def upstream_fact(pool: UpstreamPool) -> HealthFact:
    """Whether some server of an upstream is called; other upstreams' tools go on."""
    name = f"upstream {pool.upstream.name}"
    if not pool.unavailable_reason:
        return ok(name)
    why = f"no server of it is called, and its tools answer 503: {pool.unavailable_reason}"
    mend = "see that it runs and can be reached from here, and that its url is right"
    return degraded(name, why, mend)


def _descriptors(listeners: Listeners, now: float) -> HealthFact:
    if now - listeners.exhausted_at() >= limits.health_silence_seconds:
        return ok("descriptors")
    why = "there are none left for new connections, which wait"
    return failed("descriptors", why, "raise the limit of open files (ulimit -n, LimitNOFILE=)")


def _ago(seconds: float) -> str:
    """A time span for people."""
    if seconds >= 2 * _DAY:
        return f"{seconds // _DAY:.0f} days"
    return f"{seconds / 3600:.1f} hours" if seconds >= 7200 else f"{seconds // 60:.0f} minutes"  # noqa: PLR2004


def bounded(facts: Iterable[HealthFact]) -> list[HealthFact]:
    """As many as one report holds, the worst of them."""
    found = sorted(facts, key=lambda fact: -fact.state.rank)
    return found[: limits.health_facts_max]
