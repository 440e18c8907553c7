"""An agent whose one crew is watched, a guest that draws there, and what a person does."""

import msgspec
from agent_world import TOML
from grant_builders import NOW, branch_id, grant

from crewgate.agent.ipc_server.admin_session import quarantine
from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.agent.state import AgentState
from crewgate.core.audit import records
from crewgate.core.audit.records import Record
from crewgate.core.tokens.grant import Grant
from crewgate.ipc.admin_messages import MintingWatchRow, Quarantine
from crewgate.ipc.attach_messages import VERSION, Attach, CreditDrawn, DrawCredit, Reload

ONE = "article/one"
QUOTA = 1_000_000


def watched(text: str = "") -> str:
    """A configuration whose one crew is watched like this."""
    return TOML.format(workers=0, price="0.01") + f"[crew.article.watch]\n{text}\n"


def by(orchestrator: str, of: Grant, **claims: object) -> Grant:
    """The grant, minted by another orchestrator or with other claims."""
    changed = msgspec.structs.replace(of.claims, client_id=orchestrator, **claims)
    return msgspec.structs.replace(of, claims=changed)


def refreshed(number: int, quota: int = QUOTA, after: int = 60) -> Grant:
    """The next grant of a root."""
    of = grant(number, quota, iat=int(NOW) + after)
    return by(ONE, of, jti=branch_id(number + 10_000 * after))


class Asking:
    """A guest that draws and hears what came of it."""

    def __init__(self, machine: AgentState) -> None:
        self.machine = machine
        self.guest: AttachedProcess = machine.enter(Attach(version=VERSION))[0]
        self.last = 0

    def draw(self, of: Grant, need: int = 10) -> str:
        self.last += 1
        request = DrawCredit(id=self.last, grant=of, need=need)
        self.machine.draws.ask(self.guest, request, self.machine.clock.read())
        while isinstance(answer := self.guest.outbox.receive_nowait(), Reload):
            continue
        assert isinstance(answer, CreditDrawn)
        return answer.status


def steps(written: list[Record]) -> list[records.WatchRecord]:
    """What the audit has of the watch."""
    return [each for each in written if isinstance(each, records.WatchRecord)]


async def hold(
    machine: AgentState, orchestrator: str = ONE, *, lift: bool = False, seconds: int = 0
) -> MintingWatchRow:
    """What a person does."""
    ask = Quarantine(1, "article", orchestrator, lift, seconds)
    return (await quarantine(machine, ask)).row
