"""A real agent process: draws, revocations, guests that are killed or stopped."""

import signal
import threading

import pytest
from agent_process import PRICE, Enter, Site, reason
from crew_world import BRANCH, PARENT, ROOT

from crewgate.core.reasons import Reason
from crewgate.ipc.attach_messages import RevocationAck, RevocationNotice, pack
from crewgate.issuer.branches.local_gateway import BranchUsage, LocalGateway


def test_a_guest_draws_and_the_tree_shows_it(site: Site, enter: Enter) -> None:
    """Credit drawn over the link is spent by the gate, and everybody above is charged."""
    site.agent()
    guest = enter()
    for _ in range(3):
        guest.settled(site.world.token)
    tree = site.tree()
    assert tree[BRANCH].spent == 3 * PRICE
    assert tree[BRANCH].left == tree[BRANCH].quota - 3 * PRICE
    assert [tree[each].spent for each in (PARENT, ROOT, "")] == [3 * PRICE] * 3
    assert (tree[BRANCH].role, tree[BRANCH].state) == ("researcher", "live")
    assert tree[BRANCH].parent == PARENT


def test_a_branch_is_stopped_at_its_quota_and_its_siblings_go_on(site: Site, enter: Enter) -> None:
    """Exactly what the quota pays for is admitted; then it is refused, and only it."""
    site.agent()
    guest = enter()
    token = site.world.mint(credit_quota=5 * PRICE + 1)
    for _ in range(5):
        guest.settled(token)
    assert reason(guest.call(token)) is Reason.CREDITS_EXHAUSTED
    sibling = site.world.mint(execution_branch_id="0199c1d2-0000-7000-8000-000000000009")
    guest.settled(sibling)
    assert (site.tree()[BRANCH].state, site.tree()[BRANCH].left) == ("live", 1)


def test_a_revoked_branch_is_dead_everywhere_at_once(site: Site, enter: Enter) -> None:
    """When the receipt is there, every guest refuses the branch and all below; siblings go on."""
    site.agent()
    guests = [enter(), enter()]
    sibling = site.world.mint(
        execution_branch_id="0199c1d2-0000-7000-8000-000000000009", branch_path=[]
    )
    for guest in guests:
        guest.settled(site.world.token)
        guest.settled(sibling)
    receipt = site.revoke(PARENT)
    assert [each.crew for each in receipt.targets] == ["article"]
    assert (receipt.unresponsive, receipt.attachments) == (0, 2)
    for guest in guests:
        assert reason(guest.call(site.world.token)) is Reason.BRANCH_REVOKED
        guest.settled(sibling)
    tree = site.tree()
    assert [tree[each].state for each in (ROOT, PARENT, BRANCH)] == ["live", "revoked", "revoked"]


def test_a_branch_that_was_revoked_unused_is_dead_for_its_issuer(site: Site) -> None:
    """No tree shows it, and nothing must be minted for it: the table has it."""
    site.agent()
    site.revoke(BRANCH, "article")
    assert site.tree() == {}
    found = LocalGateway(site.state, "article").usage({BRANCH, PARENT})
    assert found == {BRANCH: BranchUsage(0, is_revoked=True)}
    assert LocalGateway(site.state, "other").usage({BRANCH}) == {}


def test_the_receipt_tells_when_the_last_call_was_cut(site: Site, enter: Enter) -> None:
    """A guest that answers is waited for; its times and counts are in the receipt."""
    site.agent()
    guest = enter(answers_cuts=True)
    guest.settled(site.world.token)

    def answer() -> None:
        (pushed,) = guest.pushed()
        assert isinstance(pushed, RevocationNotice)
        guest.attachment._connection.sendall(pack(RevocationAck(pushed.id, 2**62, 3)))

    thread = threading.Thread(target=answer)
    thread.start()
    receipt = site.revoke(BRANCH)
    thread.join()
    assert (receipt.last_cut_ns, receipt.calls_cut, receipt.unresponsive) == (2**62, 3, 0)
    assert receipt.cut_ms == pytest.approx((2**62 - receipt.read_ns) / 1e6)


def test_a_killed_guests_reservation_is_burned_and_written_down(site: Site, enter: Enter) -> None:
    """Its credit is gone from the branch, and the audit says whose it was."""
    site.agent()
    holder = site.guest(site.world.token.decode())
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert site.tree()[BRANCH].reserved == PRICE
    holder.kill()
    holder.wait()
    guest = enter()
    while guest.table.counts()["attachments"] > 1:
        guest.attachment.poll()
    tree = site.tree()
    assert (tree[BRANCH].reserved, tree[BRANCH].burned, tree[BRANCH].spent) == (0, PRICE, 0)
    (burned,) = [line for line in site.audit() if line["kind"] == "burned"]
    assert burned["branch"] == BRANCH
    assert burned["ancestry"] == [ROOT, PARENT]
    assert (burned["role"], burned["tool"], burned["cost_micro"]) == (
        "researcher",
        "search.web",
        PRICE,
    )
    assert (burned["grant"], burned["cause"]) == ("grant-1", "owner-died")
    assert burned["request"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_a_stopped_guest_holds_nobody_up(site: Site, enter: Enter) -> None:
    """The receipt comes without it, its reservation stays, and it goes on when it runs again."""
    site.agent()
    holder = site.guest(site.world.token.decode(), "cuts")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGSTOP)
    guest = enter()
    other = site.world.mint(
        execution_branch_id="0199c1d2-0000-7000-8000-000000000009", branch_path=[]
    )
    receipts = [
        site.revoke(f"0199c1d2-0000-7000-8000-0000000001{n:02}", "article") for n in range(2)
    ]
    assert [receipt.unresponsive for receipt in receipts] == [1, 1]
    guest.settled(other)
    assert site.tree()[BRANCH].reserved == PRICE
    holder.send_signal(signal.SIGCONT)
    assert holder.stdin is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "settled\n"
    assert site.tree()[BRANCH].spent == PRICE
