"""The second act: crew BD calls a tool of crew Finance, until its orchestrator is decommissioned.

Two orchestrators of BD, each with a certificate of the internal CA; a sub-agent that has copied the
token and has no certificate. Scripts what they do, never what comes of it.
"""

import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import trio

from crewgate import limits
from crewgate.demo.agents import AgentEvent, DemoAgent, client
from crewgate.demo.stage import DemoStage
from crewgate.issuer import Orchestrator, SubAgent
from crewgate.issuer.httpx_auth import TokenAuth

CREW = "bd"
LEAVING, STAYING = "bd-1", "bd-2"
BALANCE, STATEMENT = "/balance", "/statement"
TOOLS = ["finance.*"]
CREDITS = "5.00"


class DecommissionOutput(msgspec.Struct, frozen=True):
    """What `crewgate decommission --json` says, as far as the story needs it."""

    read_ns: int


class CrossCrewObservations(msgspec.Struct, frozen=True):
    """What was observed at the border."""

    said: dict[str, list[AgentEvent]]  # by orchestrator
    copied: AgentEvent  # the token alone, at the agents' listener
    dropped: str  # the token alone, at the crews' listener: how the connection ended
    decommissioned: DecommissionOutput
    command_ms: float
    after: str  # a new connection of the one that left: how it ended
    token_after: AgentEvent  # its token, at the agents' listener


OnAgentEvent = Callable[[str, AgentEvent], None]


async def cross(
    stage: DemoStage, hear: OnAgentEvent, tell: Callable[[str], None]
) -> CrossCrewObservations:
    """Play the act on a running stage."""
    for name in (LEAVING, STAYING):
        options = ["--role", "orchestrator", "--crew", CREW, "--name", name]
        await stage.command("ca", "issue", *options, "--out", str(stage.folder / name))
    said: dict[str, list[AgentEvent]] = {LEAVING: [], STAYING: []}

    def note(name: str, one: AgentEvent) -> None:
        said[name].append(one)
        hear(f"orchestrator {name}", one)

    with (
        Orchestrator.from_config(stage.config, crew=CREW, name=LEAVING) as first,
        Orchestrator.from_config(stage.config, crew=CREW, name=STAYING) as second,
    ):
        runs = {
            name: orchestrator.start_run(credits=CREDITS, tools=TOOLS)
            for name, orchestrator in ((LEAVING, first), (STAYING, second))
        }
        token = TokenAuth(runs[LEAVING])
        tell("a sub-agent copies the token of bd-1, without its certificate's key")
        copied = await _once(stage.url, stage.ca, token)
        dropped = await _handshake(stage, token, None)
        tell(f"the crews' listener drops it in the handshake: {dropped}")
        done: list[tuple[DecommissionOutput, float]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_work, stage, STAYING, runs[STAYING], note)
            nursery.start_soon(_listen, stage, LEAVING, runs[LEAVING], note)
            await _until(lambda: any(one.what == "opened" for one in said[LEAVING]))
            await trio.sleep(limits.demo_listen_seconds)
            tell("bd-1 is decommissioned, in the middle of its stream")
            done.append(await _decommission(stage))
        after = await _handshake(stage, token, LEAVING)
        tell(f"bd-1 comes back with its certificate: {after}")
        token_after = await _once(stage.url, stage.ca, token)
    decommissioned, command_ms = done[0]
    return CrossCrewObservations(
        said, copied, dropped, decommissioned, command_ms, after, token_after
    )


async def _work(stage: DemoStage, name: str, run: SubAgent, note: OnAgentEvent) -> None:
    """Ask Finance again and again, over the certificate's connection."""
    async with _crossing(stage, name, TokenAuth(run)) as http:
        agent = DemoAgent(http, lambda one: note(name, one))
        for number in range(limits.demo_border_calls):
            await agent.call(BALANCE, {"account": number})
            await trio.sleep(limits.demo_pace_seconds)


async def _listen(stage: DemoStage, name: str, run: SubAgent, note: OnAgentEvent) -> None:
    """Ask once, then listen to a long statement."""
    async with _crossing(stage, name, TokenAuth(run)) as http:
        agent = DemoAgent(http, lambda one: note(name, one))
        await agent.call(BALANCE, {"account": 0})
        await agent.listen(STATEMENT, {"account": 0})


async def _decommission(stage: DemoStage) -> tuple[DecommissionOutput, float]:
    start = time.monotonic()
    answer = await stage.command("decommission", f"{CREW}/{LEAVING}", "--json")
    done = msgspec.json.decode(answer, type=DecommissionOutput)
    return done, (time.monotonic() - start) * 1000


def _crossing(stage: DemoStage, name: str, auth: httpx.Auth) -> httpx.AsyncClient:
    """A client of the crews' listener, with the certificate of an orchestrator."""
    return httpx.AsyncClient(
        base_url=stage.crews_url,
        verify=context(stage.ca, stage.folder / name),
        http2=True,
        auth=auth,
        timeout=limits.demo_answer_seconds,
    )


def context(ca: Path, certificate: Path | None) -> ssl.SSLContext:
    """TLS that trusts the gateway's root, and shows PREFIX.pem and PREFIX.key if there is one."""
    made = ssl.create_default_context(cafile=str(ca))
    if certificate is not None:
        made.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
    return made


async def _once(url: str, ca: Path, auth: httpx.Auth) -> AgentEvent:
    """One call at the agents' listener, where nobody shows a certificate."""
    heard: list[AgentEvent] = []
    async with client(url, ca, auth) as http:
        await DemoAgent(http, heard.append).call(BALANCE, {"account": 0})
    return heard[0]


async def _handshake(stage: DemoStage, auth: httpx.Auth, name: str | None) -> str:
    """One call at the crews' listener; `answered`, or OpenSSL's word for how the connection ended.

    With TLS 1.3 a client learns only with its first read that its certificate is refused.
    """
    shown = context(stage.ca, None if name is None else stage.folder / name)
    try:
        async with httpx.AsyncClient(base_url=stage.crews_url, verify=shown, auth=auth) as http:
            await http.post(BALANCE, json={"account": 0})
    except httpx.HTTPError as error:
        return _alert(error)
    return "answered"


def _alert(error: BaseException) -> str:
    """The TLS alert that is behind an error; the error's name if there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and seen.reason:
            return seen.reason.rpartition("ALERT_")[2].lower().replace("_", " ")
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is looked at has no event, and the story is bounded
        await trio.sleep(limits.demo_event_seconds)
