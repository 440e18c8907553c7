"""What was revoked stays dead when the table's entry has expired and the agent has begun anew."""

from agent_world import Hands, Start
from grant_builders import NOW, branch_id, grant, key
from revocation_targets import branch, signing_key

from crewgate import limits
from crewgate.agent import periodic
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.state import AgentState
from crewgate.core.tokens.grant import Grant
from crewgate.ipc.attach_messages import VERSION, Attach, CreditDrawn, DrawCredit

ROOT = (1, 500, int(NOW))
LATER = limits.revocation_seconds + limits.branch_memory_seconds + limits.clock_distrust_seconds


def draw(machine: AgentState, asked: Grant) -> str:
    """How a draw for a token that was minted now ends."""
    guest, _ = machine.enter(Attach(version=VERSION))
    machine.draws.ask(guest, DrawCredit(id=1, grant=asked, need=10), machine.clock.read())
    told = guest.outbox.receive_nowait()
    machine.leave(guest)
    assert isinstance(told, CreditDrawn)
    return told.status


def test_a_revoked_branch_stays_dead(start: Start, hands: Hands) -> None:
    """It and what it would spawn, seen before or not; its siblings and its parent go on."""
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    assert draw(machine, grant(2, 90, ROOT)) == "granted"
    for number in (2, 4):
        machine.close(machine.revoke([branch(branch_id(number), "article")]).results)
    hands.go(LATER)
    periodic.extend_freshness(machine, watch)
    for _ in range(3):
        periodic.tidy(machine)
    assert not machine.table.is_revoked(key(2), int(NOW))
    assert machine.table.find(key(2)) == -1
    for life in range(2):
        machine, now = start() if life else machine, hands.wall_ns() // 10**9
        assert draw(machine, grant(2, 90, ROOT, iat=now)) == "closed"
        assert draw(machine, grant(3, 9, ROOT, (2, 90, now), iat=now)) == "closed"
        assert draw(machine, grant(4, 9, iat=now)) == "closed"
        assert draw(machine, grant(5, 90, ROOT, iat=now)) == "granted"
        assert draw(machine, grant(1, 500, iat=now)) == "granted"


def test_a_revoked_key_signs_nothing_any_more(start: Start, hands: Hands) -> None:
    """Whatever it signs, and whenever: it opens no branch."""
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    machine.close(machine.revoke([signing_key("kid", "article")]).results)
    hands.go(LATER)
    periodic.extend_freshness(machine, watch)
    for _ in range(3):
        periodic.tidy(machine)
    for life in range(2):
        machine = start() if life else machine
        assert draw(machine, grant(6, 9, iat=hands.wall_ns() // 10**9)) == "closed"
