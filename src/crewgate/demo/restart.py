"""Between the acts, the gateway is restarted; budgets continue where they were."""

import httpx
import msgspec

from crewgate.demo.agents import SEARCH, AgentEvent, DemoAgent, client
from crewgate.demo.gateway_process import DemoGatewaySpec, GatewayProcess
from crewgate.demo.story import RESEARCHER
from crewgate.issuer.httpx_auth import TokenAuth


class RestartObservations(msgspec.Struct, frozen=True):
    """What each branch has spent before and after, by the ledger, and a call of the researcher."""

    before: dict[str, int]
    after: dict[str, int]
    again: AgentEvent


async def restart(stage: DemoGatewaySpec, gateway: GatewayProcess) -> RestartObservations:
    """Restart the gateway, and let the researcher call once more."""
    before = await _spent(stage)
    await gateway.restart()
    auth: httpx.Auth = TokenAuth(stage.folder / f"{RESEARCHER.role}.token")
    async with client(stage.url, stage.ca, auth) as http:
        event, _ = await DemoAgent(http, lambda _: None).call(SEARCH, {"q": "otters"})
    return RestartObservations(before, await _spent(stage), event)


async def _spent(stage: DemoGatewaySpec) -> dict[str, int]:
    answer = await stage.command("ledger", "report", "--by", "branch", "--json")
    rows = msgspec.json.decode(answer)["rows"]
    return {row["branch"]: row["spent_micro"] for row in rows}
