"""A gateway with a real gate, over real sockets, before a server whose answers a test scripts."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio
from crew_world import World as CrewWorld
from gate_world import Gatehouse
from gateway_world import World, config_of, running_gateway
from msgspec import structs
from scripted_http2 import Piece, talk
from scripted_server import read_request

from crewgate._native.table_owner import OwnedTable
from crewgate.config import Config, UpstreamOrigin
from crewgate.config.judged_tools import judged_tools
from crewgate.core.policy.policy import ToolPolicy
from crewgate.core.rules.rule import LoopRules
from crewgate.gateway.call.call_digests import CallDigests

_CREDIT_MICRO = 1_000_000


class GatedGateway:
    """The gateway, its gate and a client.

    `answer` is what the server answers: pieces, with a pause after each. A server that speaks
    HTTP/2 has `settings`, and writes an answer of HTTP/1.1 as frames. `asked` has the requests.
    With `stays`, the server keeps its connections. It closes the connections of the next `drops`
    requests without an answer. Before it answers, it waits for `hold`, if that is set, and for
    `hold_rest` after each piece of an answer.
    """

    def __init__(self, world: World, house: Gatehouse, client: httpx.AsyncClient) -> None:
        self.world, self.house, self.client = world, house, client
        self.answer: Sequence[bytes] | Sequence[Piece] = ()
        self.settings: dict[int, int] = {}
        self.asked: list[bytes] = []
        self.stays = False
        self.drops = 0
        self.hold: trio.Event | None = None
        self.hold_rest: trio.Event | None = None

    def token(self, patterns: Sequence[str], **claims: Any) -> str:
        """A token that allows these tools."""
        return self.house.world.mint(allowed_tools=list(patterns), **claims).decode()

    def draw(self, token: bytes) -> None:
        """Draw enough credit that no call has to."""
        permit = self.house.permit(token)
        self.house.draw(permit.grant, _CREDIT_MICRO)
        permit.release()


def _with_protocol(
    configure: Callable[[Config], Config], http2_server: bool, config: Config
) -> Config:
    config = configure(config)
    if not http2_server:
        return config
    upstream = structs.replace(config.upstreams[0], protocol="h2")
    return structs.replace(config, upstreams=(upstream, *config.upstreams[1:]))


@asynccontextmanager
async def gated_gateway(
    folder: Path,
    configure: Callable[[Config], Config],
    allowed: tuple[str, ...],
    *,
    http2: bool = False,
    straight: bool = False,
    http2_server: bool = False,
    table: OwnedTable | None = None,
    loops: LoopRules | None = None,
) -> AsyncIterator[GatedGateway]:
    """Serve what `configure` makes of the tools; the crew may use those that are `allowed`.

    With `http2`, the client speaks HTTP/2; with `http2_server`, the tool's server does. With
    `straight`, calls may be straight. Without a `table`, the gate has one in memory. `loops` are
    the rules on branches.
    """
    configure = partial(_with_protocol, configure, http2_server)
    tools = judged_tools(configure(config_of(UpstreamOrigin("http", "127.0.0.1", 1), folder)))
    crew = CrewWorld.make()
    crew.policy = structs.replace(
        crew.policy,
        tools=tuple(ToolPolicy(x.name, x.price, is_endpoint=x.is_endpoint) for x in tools),
        crews=tuple(structs.replace(each, tools=allowed) for each in crew.policy.crews),
        loops=loops or LoopRules(),
    )
    house = Gatehouse(crew, table=table)
    sites: list[GatedGateway] = []

    async def script(stream: trio.SocketStream, _number: int) -> None:
        if http2_server:
            await talk(sites[0], stream)
            return
        while request := await read_request(stream):
            sites[0].asked.append(request)
            if sites[0].drops:
                sites[0].drops -= 1
                break
            if sites[0].hold is not None:
                await sites[0].hold.wait()
            for piece in sites[0].answer:
                await stream.send_all(piece)  # type: ignore[arg-type]
                await trio.lowlevel.checkpoint()
                if sites[0].hold_rest is not None:
                    await sites[0].hold_rest.wait()
            if not sites[0].stays or b"Connection: close" in b"".join(sites[0].answer):
                break
        await stream.aclose()

    def decide(token: bytes, tool: int, *, drawn: bool, **how: Any) -> object:
        return house.judge(token, tool, **how)  # which draws as often as it has to

    async with (
        running_gateway(script, folder, configure=configure, straight=straight) as world,
        world.client(token="", http2=http2) as client,
    ):
        world.judge.decide = decide  # type: ignore[method-assign,assignment]
        world.judge.gate = house.gate  # type: ignore[attr-defined]
        world.judge.policy, world.judge.table = crew.policy, house.table
        world.judge.digests = CallDigests(crew.policy.loops)
        sites.append(GatedGateway(world, house, client))
        yield sites[0]
