"""Between the acts, the gateway is restarted; budgets continue where they were."""

import msgspec

from crewgate.demo.agents import SEARCH, AgentEvent, call_once
from crewgate.demo.gateway_process import DemoGatewaySpec, GatewayProcess
from crewgate.demo.story import COLLECTOR, token_file
from crewgate.issuer import ProofKey
from crewgate.issuer.httpx_auth import TokenAuth


class RestartObservations(msgspec.Struct, frozen=True):
    """What each branch has spent before and after, by the ledger, and a call of the collector."""

    before: dict[str, int]
    after: dict[str, int]
    again: AgentEvent


async def restart(
    stage: DemoGatewaySpec, gateway: GatewayProcess, key: ProofKey
) -> RestartObservations:
    """Restart the gateway, and call once more as the collector, whose key is `key`."""
    before = await _spent(stage)
    await gateway.restart()
    auth = TokenAuth(token_file(stage, COLLECTOR.role), key=key)
    event = await call_once(stage.url, stage.ca, auth, SEARCH, {"q": "otters"})
    return RestartObservations(before, await _spent(stage), event)


async def _spent(stage: DemoGatewaySpec) -> dict[str, int]:
    answer = await stage.command("ledger", "report", "--by", "branch", "--json")
    rows = msgspec.json.decode(answer)["rows"]
    return {row["branch"]: row["spent_micro"] for row in rows}
