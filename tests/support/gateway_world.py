"""A gateway over real sockets, with a judge, a sink and permits that tests can look into."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trio
from scripted_server import Script, read_request, scripted
from tls_listener import Edge, running_edge

from crewgate import limits
from crewgate._datapath.in_flight import InFlightCalls
from crewgate._datapath.socket_poller import SocketPoller
from crewgate._native.audit_state import AuditRecorderState, AuditWriterState
from crewgate._native.metrics import SHARD_BYTES, CallBatch, MetricsShard
from crewgate._native.presenter import Presenter
from crewgate._native.table import Table
from crewgate.config import (
    A2AConfig,
    A2AMethodConfig,
    AuditConfig,
    Config,
    CredentialConfig,
    CrewConfig,
    LedgerConfig,
    LimitsConfig,
    MCPConfig,
    MCPGroupConfig,
    MCPToolConfig,
    TableConfig,
    ToolConfig,
    UpstreamConfig,
    UpstreamOrigin,
)
from crewgate.core.audit.json_line import decode
from crewgate.core.ids import branch_key, path_digest
from crewgate.core.mcp.arguments.argument_comparison import ArgumentComparison
from crewgate.core.policy.policy import Policy
from crewgate.core.pricing.sources import NumberTerm
from crewgate.core.pricing.tariff import MILLION, Tariff
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import StepFinding
from crewgate.core.sealed_ids import IdSealer
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.errors import AlreadySettledError
from crewgate.gateway.call.background_tasks import BackgroundTasks
from crewgate.gateway.call.call_digests import CallDigests
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.undecided_call import ListenerPolicy
from crewgate.gateway.routes import build
from crewgate.ipc.attach_messages import CreditDrawn
from crewgate.metrics.exposition import Exposition
from crewgate.metrics.families import UNRECORDED
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.upstream.connector import Connector
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver

ROOT = "0199c1d2-0000-7000-8000-000000000001"
BRANCH = "0199c1d2-0000-7000-8000-000000000003"
SIBLING = "0199c1d2-0000-7000-8000-000000000004"
EXPIRES = 2_000_000_000
# Prices in micro-credits: a page costs 100, a copy 10, and the call itself 1.
SCAN = Tariff(
    1,
    10_000,
    (NumberTerm(10 * MILLION, ("params", "arguments", "copies")),),
    (NumberTerm(100 * MILLION, ("result", "structuredContent", "pages")),),
    is_mcp=True,
)
DRAINED = msgspec.structs.replace(SCAN, on_disconnect="drain")
ONCE = Tariff(500, 500, is_mcp=True, charges_unfinished=False)
BELOW_SRV = ArgumentComparison(at=("path",), under=("/srv",))


def grant_of(branch: str = BRANCH, *, parent: str | None = ROOT, expires: int = EXPIRES) -> Grant:
    """A grant as the gate would have verified it."""
    path = [PathElement(parent, 10_000_000)] if parent else []
    claims = Claims(
        iss="https://orchestrator.example",
        aud="https://gateway.example",
        sub="user_414",
        client_id="article/article-1",
        iat=expires - 900,
        exp=expires,
        jti=f"grant-{branch[-1]}-{expires}",
        crew="article",
        process_id="pid_7729",
        agent_role="researcher",
        execution_branch_id=branch,
        allowed_tools=["search.*"],
        credit_quota=2_500_000,
        branch_path=path,
    )
    keys = tuple(branch_key("article", element.id) for element in path)
    return Grant(
        claims,
        "article",
        "article-1",
        2_500_000,
        branch_key("article", branch),
        keys,
        path_digest(keys),
    )


def drawn(status: Any, **said: Any) -> CreditDrawn | None:
    """What the agent answers to a draw; nothing for an empty status."""
    return CreditDrawn(1, status, **said) if status else None


class FakePermit:
    """A permit that may be ended once, and says how it was."""

    def __init__(self, grant: Grant, tool: int, observed_reason: Reason | None = None) -> None:
        self.grant = grant
        self.tool = tool
        self.price_micro = 10_000
        self.observed_reason = observed_reason
        self.in_observe_mode = False
        self.revocable = (grant.branch_key, *grant.path_keys)
        self.lease_remaining_micro = self.branch_unspent_micro = 90_000
        self.cost: int | None = None
        self.revoked = False
        self.is_current = True
        self.ended = ""
        self.extended: list[int] = []
        self.forbidden: frozenset[str] = frozenset()
        self.call_digest = self.answer_digest = 0
        self.finding: StepFinding | None = None
        self.in_observe_mode = observed_reason is not None

    @property
    def has_reservation(self) -> bool:
        return not self.ended

    def allows(self, name: str) -> bool:
        return name not in self.forbidden

    def note_observed(self, reason: Reason) -> None:
        assert self.in_observe_mode
        self.observed_reason = self.observed_reason or reason

    def note_answer(self, answer: int = 0, **found: Any) -> None:
        self.answer_digest = answer

    def settle(self, cost_micro: int | None = None) -> None:
        """At 0 it is a release."""
        self.cost = self.price_micro if cost_micro is None else min(cost_micro, self.price_micro)
        self._end("settled" if self.cost else "released")

    def release(self) -> None:
        self._end("released")

    def extend(self, until_boot_ns: int) -> bool:
        self.extended.append(until_boot_ns)
        return True

    def _end(self, how: str) -> None:
        if self.ended:
            raise AlreadySettledError("a second time")
        self.ended = how


class FakeJudge:
    """Permits every token that names a grant in `grants`; `denials` go first, one a call."""

    def __init__(self) -> None:
        self.grants = {b"good": grant_of(), b"sibling": grant_of(SIBLING)}
        self.denials: list[Denial] = []
        self.permits: list[FakePermit] = []
        self.asked: list[tuple[bytes, int, bool, bool]] = []
        self.draws: list[tuple[Denial, int]] = []
        self.observed_reason: Reason | None = None
        self.policy = Policy("https://gateway.example", (), (), ())
        self.digests = CallDigests(self.policy.loops)
        self.table: Table | None = None

    def decide(  # noqa: PLR0913 - as the gate
        self,
        token: bytes,
        tool: int,
        *,
        request: bytes = b"",
        presenter: Presenter | None = None,
        observe: bool = False,
        drawn: bool = False,
        price: int = -1,
        is_upper_bound: bool = False,
        name: str | None = None,
        counts: bool = True,
        call: int = 0,
    ) -> FakePermit | Denial:
        assert len(request) == 16
        self.asked.append((token, tool, observe, drawn))
        if self.denials:
            return self.denials.pop(0)
        grant = self.grants.get(token)
        if grant is None:
            return Denial(Reason.INVALID_TOKEN)
        if tool < 0:
            return Denial(Reason.UNKNOWN_TOOL, grant)
        permit = FakePermit(grant, tool, self.observed_reason)
        permit.price_micro = permit.price_micro if price < 0 else price
        permit.in_observe_mode = observe
        self.permits.append(permit)
        return permit

    def grant_for(self, token: bytes, tool: int, presenter: Presenter | None) -> Grant | None:
        return None if self.denials or tool < 0 else self.grants.get(token)

    async def draw(self, grant: Grant, need: int) -> CreditDrawn | None:
        await trio.lowlevel.checkpoint()
        return None

    def explained(self, denial: Denial) -> Denial:
        return denial

    def relieve(self, denial: Denial, tool: int, price: int = -1) -> "FakeRelief":
        self.draws.append((denial, tool))
        return FakeRelief(len(self.draws) < 3)


@dataclass
class FakeRelief:
    """Over at once."""

    changes: bool

    async def wait(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.changes


class FakeSink(AuditRecorderState):
    """Keeps the records, and counts their calls in a shard."""

    def __init__(self, shard: MetricsShard | None = None) -> None:
        self.shard = shard
        self.records: list = []
        self.counts: list[tuple[str, Reason, str]] = []
        self.state, self.refuses_when_full = AuditWriterState(), True
        self.state.writable = True

    def write(self, record: object) -> None:
        self.records.append(record)

    def write_lines(self, lines: Sequence[bytes], calls: CallBatch | None = None) -> None:
        self.records.extend(map(decode, lines))
        if self.shard is not None and calls is not None:
            self.shard.begin(calls, 0)
            self.shard.commit()

    def count(self, listener: str, reason: Reason, network: str) -> None:
        self.counts.append((listener, reason, network))


SEALER = IdSealer([bytes(32)])
AGENT = A2AConfig(
    "research",
    "/a2a/research",
    "tools",
    10_000,
    (A2AMethodConfig("CancelTask", 5_000),),
    rpc_path="/rpc",
    rest_path="/rest",
    tenants=("acme",),
    aauth_budget=True,
)


def config_of(origin: UpstreamOrigin, folder: Path) -> Config:
    """Four tools on one upstream, which wants a key of its own."""
    secret = folder / "upstream.key"
    secret.write_text("s3cret\n")
    credential = CredentialConfig("x-upstream-key", prefix="Key ", file=secret)
    return Config(
        path=folder / "crewgate.toml",
        audience="https://gateway.example",
        state=folder,
        sealing_keys=folder / "sealing.keys",
        workers=1,
        drain_seconds=5.0,
        listeners=(),
        crews=(
            CrewConfig("article", "https://orchestrator.example", folder / "jwks.json", ("*",)),
        ),
        upstreams=(UpstreamConfig("tools", (origin,), credential),),
        tools=(
            ToolConfig("search.web", "POST", "/search", "tools", 10_000),
            ToolConfig("pages.get", "GET", "/pages/*", "tools", 10_000),
            ToolConfig("summary.stream", "GET", "/summary", "tools", 10_000),
            ToolConfig(
                "embeddings.create",
                "POST",
                "/v1/embeddings",
                "tools",
                10_000,
                decide_on="body",
                carriers=("authorization", "x-api-key"),
            ),
        ),
        mcp=(
            MCPConfig(
                "files",
                "/mcp/files",
                "tools",
                10_000,
                (
                    MCPToolConfig("delete", 50_000),
                    MCPToolConfig("write", 20_000, comparisons=(BELOW_SRV,)),
                ),
            ),
            MCPConfig(
                "priced",
                "/mcp/priced",
                "tools",
                500,
                (
                    MCPToolConfig("ask", 500, tariff=ONCE),
                    MCPToolConfig("scan", 10_000, tariff=SCAN),
                    MCPToolConfig("drain", 10_000, tariff=DRAINED),
                ),
            ),
            MCPConfig("modern", "/mcp/modern", "tools", 10_000, revisions="2026-07-28"),
        ),
        mcp_groups=(MCPGroupConfig("team", "/mcp/team", ("files", "priced")),),
        a2a=(AGENT,),
        audit=AuditConfig(folder),
        table=TableConfig(),
        limits=LimitsConfig(),
        ledger=LedgerConfig("sqlite", folder / "ledger.db"),
    )


class World:
    """A running gateway and everything behind it."""

    def __init__(
        self,
        edge: Edge,
        gateway: Gateway,
        judge: FakeJudge,
        sink: FakeSink,
        live: InFlightCalls,
        metrics: ProcessMetrics,
        exposition: Exposition,
    ) -> None:
        self.edge = edge
        self.gateway = gateway
        self.judge = judge
        self.sink = sink
        self.live = live
        self.metrics = metrics
        self.exposition = exposition
        self.pins = gateway._services.pins

    def unrecorded(self, reason: str) -> int:
        """How many refusals without a record the metrics have."""
        return self.metrics.series(UNRECORDED, "agents", reason).value

    def client(self, *, http2: bool = False, token: str = "good") -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.edge.url,
            verify=self.edge.client_context(),
            http1=not http2,
            http2=http2,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=20,
        )

    async def settled(self) -> None:
        """Wait until no call is in flight."""
        while self.live:
            await trio.lowlevel.checkpoint()


def shared_metrics() -> tuple[ProcessMetrics, Exposition]:
    """The metrics of a worker, and what a scrape of them shows."""
    descriptor = os.memfd_create("metrics")
    os.truncate(descriptor, SHARD_BYTES)
    made = ProcessMetrics(MetricsShard(descriptor, 0)), Exposition(descriptor)
    os.close(descriptor)
    return made


@asynccontextmanager
async def running_gateway(
    script: Script,
    folder: Path,
    door: ListenerPolicy | None = None,
    configure: Callable[[Config], Config] = lambda config: config,
    *,
    straight: bool = False,
) -> AsyncIterator[World]:
    """Run a gateway before a tool server that follows `script`; `configure` changes its tools.

    With `straight` it has straight calls, for which the test must give its judge a gate.
    """
    async with scripted(script) as origin:
        config, poller = configure(config_of(origin, folder)), SocketPoller()
        resolver = Resolver()
        upstream = config.upstreams[0]
        pool = UpstreamPool(upstream, Connector(upstream, poller, None), resolver)
        metrics, exposition = shared_metrics()
        judge, sink = FakeJudge(), FakeSink(metrics.shard)
        live = InFlightCalls(int(limits.reservation_seconds_max * 1e9))
        errands = BackgroundTasks(limits.credit_wait_seconds, lambda *_: None)
        site = build(config, {"tools": pool}, sealer=SEALER)
        services = CallServices(judge, live, sink, poller, errands, metrics=metrics)
        gateway = Gateway(door or ListenerPolicy("agents"), site, services)
        taker = gateway.straight.taker if straight else None
        async with (
            running_edge(gateway.accept, folder, poller, taker) as edge,
            trio.open_nursery() as own,
        ):
            own.start_soon(resolver.run)
            own.start_soon(pool.run)
            own.start_soon(errands.run)
            yield World(edge, gateway, judge, sink, live, metrics, exposition)
            own.cancel_scope.cancel()


def answering(answer: bytes, seen: list[bytes] | None = None) -> Callable:
    """A script that answers every request alike."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            if seen is not None:
                seen.append(request)
            await stream.send_all(answer)

    return script
