"""A machine is backed up while it works, lost, and put back from the backup elsewhere."""

import copy
import json
import signal
from pathlib import Path

from agent_process import PRICE, Guest, Site, reason
from command_process import crewgate
from crew_world import BRANCH
from installation import wait_until

from crewgate._native.permit import Permit
from crewgate.core.reasons import Reason

BUSY = "0199c1d2-0000-7000-8000-000000000007"
DEAD = "0199c1d2-0000-7000-8000-000000000008"


def left_of(site: Site) -> dict[str, int]:
    """Micro-credits that each branch may still draw, as the ledger has them."""
    done = site.command("ledger", "report", "--by", "branch", "--json")
    assert done.returncode == 0, done.stderr
    return {row["branch"]: row["left_micro"] for row in json.loads(done.stdout)["rows"]}


def moved(site: Site, folder: Path) -> Site:
    """The same site, in another folder."""
    other = copy.copy(site)
    other.folder, other.state, other.file = folder, folder / "state", folder / "crewgate.toml"
    return other


def test_a_restored_machine_forgets_neither_spend_nor_revocation(site: Site) -> None:
    """Backed up while calls run; in the new place it starts, and budgets and the dead stay so."""
    agent = site.agent()
    guest = Guest(site)
    token = site.world.mint(credit_quota=5 * PRICE)
    for _ in range(3):
        guest.settled(token)
    site.revoke(DEAD, "article")
    busy = site.world.mint(execution_branch_id=BUSY, branch_path=[], credit_quota=1000 * 10**6)
    spender = site.guest(busy.decode(), script="spending_process.py")
    wait_until(lambda: BUSY in site.tree() and site.tree()[BUSY].spent > 0)
    before = site.tree()[BRANCH].spent
    assert before == 3 * PRICE
    done = site.command("backup", str(site.folder / "backup"))
    assert done.returncode == 0, done.stderr
    assert spender.poll() is None
    guest.close()
    spender.kill()
    agent.send_signal(signal.SIGTERM)
    agent.wait()
    for lost in ("state", "crewgate.toml", "jwks.json"):
        (site.folder / lost).rename(site.folder / f"lost-{lost}")
    restored = moved(site, site.folder / "restored")
    restore = ["restore", str(site.folder / "backup"), str(restored.folder)]
    done = crewgate(*restore)
    assert done.returncode == 0, done.stderr
    left = left_of(restored)
    assert left[BRANCH] <= 5 * PRICE - before
    assert left[BUSY] < 1000 * 10**6
    restored.agent()
    again = Guest(restored)
    admitted = 0
    while isinstance(verdict := again.call(token), Permit):
        verdict.settle()
        admitted += 1
    assert admitted <= 2
    assert reason(verdict) is Reason.CREDITS_EXHAUSTED
    dead = again.call(site.world.mint(execution_branch_id=DEAD))
    assert reason(dead) is Reason.BRANCH_REVOKED
    again.close()
