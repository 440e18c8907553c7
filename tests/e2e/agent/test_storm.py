"""The agent is killed again and again under load: budgets hold to the micro-credit."""

import os
import random
import signal
import time

from agent_process import Site
from crew_world import BRANCH, PARENT
from revocation_targets import branch

from crewgate.ipc.admin_client import AdminClient

PRICE = 10_000
CALLS = 2_000


def test_a_budget_is_spent_exactly_however_often_the_agent_is_killed(site: Site) -> None:
    """Two processes share 2,000 calls' credit under a tight parent; the agent dies meanwhile.

    Exactly 2,000 are admitted together, and a revocation made in between holds.
    """
    serve = site.serve()
    assert site.command("status", "--wait", "100").returncode == 0
    life = site.status().life
    path = [{"id": PARENT, "credit_quota": CALLS * PRICE, "iat": site.world.now}]
    tokens = [
        site.world.mint(execution_branch_id=branch, branch_path=path, credit_quota=CALLS * PRICE)
        for branch in (BRANCH, "0199c1d2-0000-7000-8000-000000000009")
    ]
    spenders = [site.guest(token.decode(), script="spending_process.py") for token in tokens]
    for spender in spenders:
        assert spender.stdout is not None
        assert spender.stdout.readline() == "attached\n"
    chance = random.Random(7)
    for number in range(6):
        with AdminClient(site.state) as owner:
            owner.revoke([branch(f"0199c1d2-0000-7000-8000-0000000001{number:02}", "article")])
        os.kill(site.status().pid, signal.SIGKILL)
        time.sleep(chance.uniform(0.0, 0.4))
        assert site.command("status", "--wait", "100").returncode == 0
    admitted = 0
    for spender in spenders:
        assert spender.stdout is not None
        admitted += int(spender.stdout.readline())
    assert admitted == CALLS
    status = site.status()
    assert (status.life, status.counts["revocations"]) == (life, 6)
    with AdminClient(site.state) as owner:
        tree = {row.branch: row for row in owner.tree()}
    assert tree[PARENT].spent == CALLS * PRICE
    assert tree[PARENT].burned == tree[PARENT].reserved == tree[PARENT].left == 0
    serve.send_signal(signal.SIGTERM)
    assert serve.wait() == 0
