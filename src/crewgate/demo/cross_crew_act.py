"""The second act: crew BD calls a tool of crew Finance, until its orchestrator is decommissioned.

Crew BD has two orchestrators, each with a certificate of the internal CA, to which its tokens are
bound. A sub-agent has copied a token and has no certificate. The script says what they do, and
never what the gateway answers.
"""

import ssl
import time
from collections.abc import Callable

import httpx
import msgspec
import trio

from crewgate import limits
from crewgate.demo.agents import AgentEvent, DemoAgent, call_once, client
from crewgate.demo.gateway_process import DemoGatewaySpec
from crewgate.demo.story import OnAgentEvent
from crewgate.issuer import Orchestrator, SubAgent
from crewgate.issuer.bindings import binding_of_certificate
from crewgate.issuer.httpx_auth import TokenAuth

CREW = "bd"
LEAVING, STAYING = "bd-1", "bd-2"
BALANCE, STATEMENT = "/balance", "/statement"
TOOLS = ["finance.*"]
CREDITS = "5.00"


class DecommissionOutput(msgspec.Struct, frozen=True):
    """The part of the output of `crewgate decommission --json` that the story needs."""

    read_ns: int


class CrossCrewObservations(msgspec.Struct, frozen=True):
    """The observations of the act.

    `events` has the events of each orchestrator. `copied` is a call with the token alone at the
    agents' listener, and `dropped` is how the connection of such a call ended at the crews'
    listener. After the decommissioning, `after` is how a new connection of the orchestrator ended,
    and `token_after` a call with its token at the agents' listener.
    """

    events: dict[str, list[AgentEvent]]
    copied: AgentEvent
    dropped: str
    decommissioned: DecommissionOutput
    command_ms: float
    after: str
    token_after: AgentEvent


async def call_across_crews(
    stage: DemoGatewaySpec, on_event: OnAgentEvent, print_line: Callable[[str], None]
) -> CrossCrewObservations:
    """Play the act on a running stage."""
    for name in (LEAVING, STAYING):
        options = ["--role", "orchestrator", "--crew", CREW, "--name", name]
        await stage.command("ca", "issue", *options, "--out", str(stage.folder / name))
    events: dict[str, list[AgentEvent]] = {LEAVING: [], STAYING: []}

    def note(name: str, event: AgentEvent) -> None:
        events[name].append(event)
        on_event(f"orchestrator {name}", event)

    with (
        Orchestrator.from_config(stage.config, crew=CREW, name=LEAVING) as first,
        Orchestrator.from_config(stage.config, crew=CREW, name=STAYING) as second,
    ):
        runs = {
            name: orchestrator.start_run(
                credits=CREDITS,
                tools=TOOLS,
                binding=binding_of_certificate(stage.folder / f"{name}.pem"),
            )
            for name, orchestrator in ((LEAVING, first), (STAYING, second))
        }
        token = TokenAuth(runs[LEAVING])
        print_line("a sub-agent copies the token of bd-1, but has no certificate")
        copied = await _once(stage, token)
        dropped = await _handshake(stage, token, None)
        print_line(f"the crews' listener ends the TLS handshake without a certificate: {dropped}")
        done: list[tuple[DecommissionOutput, float]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_work, stage, STAYING, runs[STAYING], note)
            nursery.start_soon(_listen, stage, LEAVING, runs[LEAVING], note)
            await _until(lambda: any(event.what == "opened" for event in events[LEAVING]))
            await trio.sleep(limits.demo_listen_seconds)
            print_line("bd-1 is decommissioned, in the middle of its stream")
            done.append(await _decommission(stage))
        after = await _handshake(stage, token, LEAVING)
        print_line(f"bd-1 tries to connect again with its certificate: {after}")
        token_after = await _once(stage, token)
    decommissioned, command_ms = done[0]
    return CrossCrewObservations(
        events, copied, dropped, decommissioned, command_ms, after, token_after
    )


async def _work(stage: DemoGatewaySpec, name: str, run: SubAgent, note: OnAgentEvent) -> None:
    """Ask Finance again and again, over a connection with the certificate."""
    async with client(stage.crews_url, stage.ca, TokenAuth(run), stage.folder / name) as http:
        agent = DemoAgent(http, lambda event: note(name, event))
        for number in range(limits.demo_border_calls):
            await agent.call(BALANCE, {"account": number})
            await trio.sleep(limits.demo_pace_seconds)


async def _listen(stage: DemoGatewaySpec, name: str, run: SubAgent, note: OnAgentEvent) -> None:
    async with client(stage.crews_url, stage.ca, TokenAuth(run), stage.folder / name) as http:
        agent = DemoAgent(http, lambda event: note(name, event))
        await agent.call(BALANCE, {"account": 0})
        await agent.listen(STATEMENT, {"account": 0})


async def _decommission(stage: DemoGatewaySpec) -> tuple[DecommissionOutput, float]:
    start = time.monotonic()
    answer = await stage.command("decommission", f"{CREW}/{LEAVING}", "--json")
    done = msgspec.json.decode(answer, type=DecommissionOutput)
    return done, (time.monotonic() - start) * 1000


async def _once(stage: DemoGatewaySpec, auth: httpx.Auth) -> AgentEvent:
    """Call once at the agents' listener, where no client shows a certificate."""
    return await call_once(stage.url, stage.ca, auth, BALANCE, {"account": 0})


async def _handshake(stage: DemoGatewaySpec, auth: httpx.Auth, name: str | None) -> str:
    """Call once at the crews' listener; return `answered`, or the TLS alert that ended it.

    With TLS 1.3, a client learns only at its first read that the server refused its certificate.
    """
    shown = None if name is None else stage.folder / name
    try:
        async with client(stage.crews_url, stage.ca, auth, shown, http2=False) as http:
            await http.post(BALANCE, json={"account": 0})
    except httpx.HTTPError as error:
        return _alert(error)
    return "answered"


def _alert(error: BaseException) -> str:
    """Return the TLS alert behind an error, or the name of the error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and seen.reason:
            return seen.reason.rpartition("ALERT_")[2].lower().replace("_", " ")
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - the condition has no event, and the story is bounded
        await trio.sleep(limits.demo_event_seconds)
