"""The export of a whole gateway: each call is a span, whatever happens to exporter and receiver."""

import json
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from command_process import crewgate
from installation import Installation, wait_until
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_decoding import attributes, logs, spans

from crewgate.core.trace_context import NO_PARENT

EXPORT = """
[export.json]
format = "otlp"
url = "http://127.0.0.1:{json}"
[export.protobuf]
format = "otlp"
url = "http://127.0.0.1:{protobuf}"
encoding = "protobuf"
credential = {{ header = "authorization", prefix = "Bearer ", file = "receiver.token" }}
"""


class Collector(ThreadingHTTPServer):
    """An OTLP receiver that keeps what it gets; `status` is what it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.logs: list[LogRecord] = []
        self.status = 200
        self.requests = 0
        self.credentials: set[str | None] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def by_span(self) -> dict[str, Span]:
        """The spans by their ids; a repeated one is the same."""
        found: dict[str, Span] = {}
        for span in list(self.spans):
            assert found.setdefault(span.span_id.hex(), span) == span
        return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        collector, media = self.server, self.headers["content-type"]
        collector.requests += 1
        collector.credentials.add(self.headers["authorization"])
        if collector.status == 200 and self.path == "/v1/traces":
            collector.spans += spans(body, media)
        elif collector.status == 200:
            assert self.path == "/v1/logs"
            collector.logs += logs(body, media)
        self.send_response(collector.status)
        if collector.status != 200:
            self.send_header("retry-after", "1")
        answer = b"{}" if media == "application/json" else b""
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def collectors() -> Iterator[tuple[Collector, Collector]]:
    both = Collector(), Collector()
    yield both
    for each in both:
        each.shutdown()
        each.server_close()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, collectors: tuple[Collector, Collector]
) -> Iterator[Installation]:
    site = Installation(tmp_path_factory.mktemp("export"), workers=1, price="0.001")
    ports = [each.server_address[1] for each in collectors]
    with site.file.open("a") as file:
        file.write(EXPORT.format(json=ports[0], protobuf=ports[1]))
    (site.folder / "receiver.token").write_text("s3cret-token\n")
    (site.folder / "receiver.token").chmod(0o600)
    try:
        site.serve()
        yield site
    finally:
        site.end()


class Caller:
    """An agent of a crew that sends `traceparent`, and keeps what it expects of the spans."""

    def __init__(self, site: Installation) -> None:
        self.site = site
        run = site.orchestrator().start_run(credits="10", tools=["search.*"])
        self.token = run.token()
        self.expected: dict[str, tuple[str, str]] = {}  # our span -> trace id, parent

    async def call(self, count: int) -> None:
        """Call a tool as often, each time in another trace; note the span that the tool saw."""
        async with self.site.client() as client:
            for _ in range(count):
                trace, parent = secrets.token_hex(16), secrets.token_hex(8)
                headers = {
                    "authorization": f"Bearer {self.token}",
                    "traceparent": f"00-{trace}-{parent}-01",
                    "tracestate": "vendor=1",
                }
                answer = await client.post("/search", headers=headers, json={})
                seen = answer.json()
                assert seen["tracestate"] == "vendor=1"
                version, sent, ours, flags = seen["traceparent"].split("-")
                assert (version, sent, flags) == ("00", trace, "01")
                self.expected[ours] = trace, parent


@pytest.fixture(scope="module")
def caller(site: Installation) -> Caller:
    return Caller(site)


def _parents(collector: Collector) -> dict[str, tuple[str, str]]:
    found = collector.by_span().items()
    return {ours: (span.trace_id.hex(), span.parent_span_id.hex()) for ours, span in found}


async def test_each_call_is_a_span_below_the_clients(
    site: Installation, caller: Caller, collectors: tuple[Collector, Collector]
) -> None:
    """In both encodings, once; a call without a trace is a log record only."""
    await caller.call(20)
    async with site.client() as client:
        plain = await client.post("/search", headers={"authorization": f"Bearer {caller.token}"})
        assert "traceparent" not in plain.json()
    request = plain.json()["x-crewgate-request"]
    for each in collectors:
        wait_until(lambda each=each: request in _requests(each))  # type: ignore[misc]
        wait_until(lambda each=each: len(each.spans) >= 20)  # type: ignore[misc]
        assert _parents(each) == caller.expected
        assert len(each.spans) == 20
        calls = [log for log in each.logs if log.event_name == "crewgate.call"]
        assert {log.span_id.hex() for log in calls} == {*caller.expected, ""}
        uids = [attributes(log)["log.record.uid"] for log in each.logs]
        assert len(set(uids)) == len(uids)
        assert all(span.end_time_unix_nano > span.start_time_unix_nano for span in each.spans)
    assert [each.credentials for each in collectors] == [{None}, {"Bearer s3cret-token"}]
    async with httpx.AsyncClient(trust_env=False) as scraper:
        metrics = (await scraper.get(f"http://127.0.0.1:{site.port + 4}/metrics")).text
    assert 'crewgate_export_records_total{channel="protobuf (traces)"} 20' in metrics


def _requests(collector: Collector) -> set[Any]:
    return {attributes(log).get("crewgate.request") for log in list(collector.logs)}


async def test_a_killed_exporter_loses_nothing(
    site: Installation, caller: Caller, collectors: tuple[Collector, Collector]
) -> None:
    """The next process begins where the position was; a repeated span has the same id."""
    for _ in range(3):
        (exporter,) = site.children("export")
        await caller.call(10)
        os.kill(exporter, signal.SIGKILL)
        await caller.call(10)
        wait_until(lambda old=exporter: site.children("export") not in ([], [old]))  # type: ignore[misc]
    for each in collectors:
        wait_until(lambda each=each: _parents(each).keys() >= caller.expected.keys())  # type: ignore[misc]
        assert _parents(each) == caller.expected


async def test_a_receiver_that_is_away_shows_and_loses_nothing(
    site: Installation, caller: Caller, collectors: tuple[Collector, Collector]
) -> None:
    """`status` names it and the gateway stays ready; the other receiver has no gap either."""
    busy, other = collectors
    busy.status = 503
    await caller.call(5)
    wait_until(lambda: _parents(other) == caller.expected)
    assert _parents(busy) != caller.expected
    wait_until(lambda: "export to json (traces)" in _troubles(site))
    why = _troubles(site)["export to json (traces)"]
    assert "has taken no records for" in why
    assert "HTTP status 503" in why
    assert site.ask("status")["ready"]
    busy.status = 200
    wait_until(lambda: _parents(busy) == caller.expected)
    wait_until(lambda: not any(name.startswith("export to") for name in _troubles(site)))
    log = (site.folder / "serve.log").read_text()
    assert "takes records again after" in log
    assert "s3cret" not in log


def _troubles(site: Installation) -> dict[str, str]:
    found: list[dict[str, Any]] = site.ask("status")["health"]
    return {each["component"]: each["why"] for each in found if each["state"] != "ok"}


async def test_sampled_calls_begin_traces(
    site: Installation, caller: Caller, collectors: tuple[Collector, Collector]
) -> None:
    """After a change of the file; without a parent. No second exporter of a gateway runs."""
    with site.file.open("a") as file:
        file.write("\n[traces]\nsample = 1\n")
    os.kill(site.serving.pid, signal.SIGHUP)  # type: ignore[union-attr]
    async with site.client() as client:

        async def ours() -> str:
            headers = {"authorization": f"Bearer {caller.token}"}
            found: str = (
                (await client.post("/search", headers=headers)).json().get("traceparent", "")
            )
            return found

        while not (sent := await ours()):
            pass
    _, trace, span, _ = sent.split("-")
    wait_until(lambda: span in _parents(collectors[0]))
    assert _parents(collectors[0])[span] == (trace, "")
    record = next(each for each in site.records() if span in each.get("trace", ""))
    assert record["trace"] == f"{trace}-{NO_PARENT}-{span}-03"
    again = crewgate("export", "-c", str(site.file), "--log-format", "json")
    assert again.returncode == 2
    assert "another export process of this gateway runs" in json.loads(again.stderr)["message"]


async def test_the_last_records_are_sent_at_the_end(
    site: Installation, caller: Caller, collectors: tuple[Collector, Collector]
) -> None:
    """Also those that workers and agent write while they end."""
    await caller.call(5)
    assert site.stop() == 0
    files = [json.loads(line) for path in _audit(site) for line in path.read_text().splitlines()]
    assert len(files) == len({attributes(log)["log.record.uid"] for log in collectors[0].logs})
    assert _parents(collectors[1]).keys() >= caller.expected.keys()


def _audit(site: Installation) -> list[Path]:
    return sorted((site.folder / "state" / "audit").glob("*.jsonl"))
