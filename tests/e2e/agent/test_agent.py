"""A real agent process: draws, revocations, kills, stops, and who may come in."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from agents import Guest, Site
from world import BRANCH, PARENT, ROOT

from crewgate._native.gate import Permit
from crewgate.core.ids import branch_key
from crewgate.core.verdict import Denial, Reason
from crewgate.errors import LinkError, RefusedError
from crewgate.link.messages import (
    VERSION,
    Attach,
    Cut,
    Receipt,
    Reload,
    Revoked,
    TreeRow,
    pack,
)
from crewgate.link.owner import Owner
from crewgate.link.session import attach

PRICE = 10_000
Enter = Callable[..., Guest]


def _tree(site: Site) -> dict[str, TreeRow]:
    with Owner(site.state) as owner:
        return {row.branch: row for row in owner.tree()}


def _revoke(site: Site, branch: str, crew: str = "") -> Receipt:
    with Owner(site.state) as owner:
        return owner.revoke(branch, crew)


def _pushed(guest: Guest) -> list[Revoked | Reload]:
    """What the agent pushes next."""
    while not (pushed := guest.attachment.poll()):
        select.select([guest.attachment], [], [], 10)
    return pushed


def _call(guest: Guest, token: bytes, need: int = PRICE) -> Permit | Denial:
    """One call as every guest makes it: decide, draw if that is what is missing, decide."""
    verdict = guest.gate.decide(token, 0)
    if isinstance(verdict, Denial) and verdict.retry and verdict.grant:
        guest.attachment.draw(verdict.grant, need, seconds=5)
        verdict = guest.gate.decide(token, 0)
    return verdict


def _settled(guest: Guest, token: bytes, need: int = PRICE) -> Permit:
    verdict = _call(guest, token, need)
    assert isinstance(verdict, Permit), verdict
    verdict.settle()
    return verdict


def _reason(verdict: Permit | Denial) -> Reason:
    assert isinstance(verdict, Denial)
    return verdict.reason


def test_a_guest_draws_and_the_tree_shows_it(site: Site, enter: Enter) -> None:
    """Credit drawn over the link is spent by the gate, and everybody above is charged."""
    site.agent()
    guest = enter()
    for _ in range(3):
        _settled(guest, site.world.token)
    tree = _tree(site)
    assert tree[BRANCH].spent == 3 * PRICE
    assert tree[BRANCH].left == tree[BRANCH].quota - 3 * PRICE
    assert [tree[each].spent for each in (PARENT, ROOT, "")] == [3 * PRICE] * 3
    assert (tree[BRANCH].role, tree[BRANCH].state) == ("researcher", "live")
    assert tree[BRANCH].parent == PARENT


def test_a_branch_is_stopped_at_its_quota_and_its_siblings_go_on(site: Site, enter: Enter) -> None:
    """Exactly what the quota pays for is admitted; then it is exhausted, and only it."""
    site.agent()
    guest = enter()
    token = site.world.mint(credit_quota=5 * PRICE + 1)
    for _ in range(5):
        _settled(guest, token)
    assert _reason(_call(guest, token)) is Reason.CREDITS_EXHAUSTED
    sibling = site.world.mint(execution_branch_id="0199c1d2-0000-7000-8000-000000000009")
    _settled(guest, sibling)
    assert _tree(site)[BRANCH].state == "exhausted"


def test_a_revoked_branch_is_dead_everywhere_at_once(site: Site, enter: Enter) -> None:
    """When the receipt is there, every guest refuses the branch and all below; siblings go on."""
    site.agent()
    guests = [enter(), enter()]
    sibling = site.world.mint(
        execution_branch_id="0199c1d2-0000-7000-8000-000000000009", branch_path=[]
    )
    for guest in guests:
        _settled(guest, site.world.token)
        _settled(guest, sibling)
    receipt = _revoke(site, PARENT)
    assert (receipt.crew, receipt.missing, receipt.attachments) == ("article", 0, 2)
    for guest in guests:
        assert _reason(_call(guest, site.world.token)) is Reason.BRANCH_REVOKED
        _settled(guest, sibling)
    tree = _tree(site)
    assert [tree[each].state for each in (ROOT, PARENT, BRANCH)] == ["live", "revoked", "revoked"]


def test_the_receipt_tells_when_the_last_call_was_cut(site: Site, enter: Enter) -> None:
    """A guest that answers is waited for; its times and counts are in the receipt."""
    site.agent()
    guest = enter(answers_cuts=True)
    _settled(guest, site.world.token)

    def answer() -> None:
        (pushed,) = _pushed(guest)
        assert isinstance(pushed, Revoked)
        guest.attachment.answer_cut(pushed, 2**62, 3)

    thread = threading.Thread(target=answer)
    thread.start()
    receipt = _revoke(site, BRANCH)
    thread.join()
    assert (receipt.last_cut_ns, receipt.streams_cut, receipt.missing) == (2**62, 3, 0)
    assert receipt.cut_ms == pytest.approx((2**62 - receipt.read_ns) / 1e6)


def test_a_killed_guests_reservation_is_burned_and_written_down(site: Site, enter: Enter) -> None:
    """Its credit is gone from the branch, and the audit says whose it was."""
    site.agent()
    holder = site.guest(site.world.token.decode())
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert _tree(site)[BRANCH].reserved == PRICE
    holder.kill()
    holder.wait()
    guest = enter()
    while guest.table.counts()["attachments"] > 1:
        guest.attachment.poll()
    tree = _tree(site)
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
        _revoke(site, f"0199c1d2-0000-7000-8000-0000000001{n:02}", "article") for n in range(2)
    ]
    assert [receipt.missing for receipt in receipts] == [1, 1]
    _settled(guest, other)
    assert _tree(site)[BRANCH].reserved == PRICE
    holder.send_signal(signal.SIGCONT)
    assert holder.stdin is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "settled\n"
    assert _tree(site)[BRANCH].spent == PRICE


def test_a_killed_agent_forgets_nothing(site: Site, enter: Enter) -> None:
    """The next one has the same table: spend, revocations, who is who, and the same generation."""
    agent = site.agent()
    guest = enter()
    token = site.world.mint(credit_quota=5 * PRICE)
    for _ in range(3):
        _settled(guest, token)
    dead = "0199c1d2-0000-7000-8000-000000000008"
    _revoke(site, dead, "article")
    before, tree = site.status(), _tree(site)
    agent.kill()
    agent.wait()
    site.agent()
    after = site.status()
    assert (after.life, after.policy_generation) == (before.life, before.policy_generation)
    assert after.revocation_generation > before.revocation_generation
    assert guest.table.is_revoked(branch_key("article", dead), 2**40)
    assert _tree(site) == tree
    again = enter()
    for _ in range(2):
        _settled(again, token)
    assert _reason(_call(again, token)) is Reason.CREDITS_EXHAUSTED


def test_a_guest_of_a_killed_agent_keeps_its_calls(site: Site, enter: Enter) -> None:
    """It attaches anew under its old number, and settles what it held all along."""
    agent = site.agent()
    guest = enter()
    permit = _call(guest, site.world.token)
    assert isinstance(permit, Permit)
    agent.kill()
    agent.wait()
    site.agent()
    session = attach(site.state, previous=guest.attachment.attached)
    os.close(session.table)
    with session.connection:
        assert session.attached.number == guest.attachment.attached.number
        assert permit.held
        permit.settle()
        assert _tree(site)[BRANCH].spent == PRICE
        with pytest.raises(LinkError):
            guest.attachment.draw(permit.grant, PRICE, seconds=5)


def test_an_ended_agent_leaves_its_table_and_guests(site: Site, enter: Enter) -> None:
    """SIGTERM is status 0; the reservations of living guests are not burned."""
    agent = site.agent()
    guest = enter()
    permit = _call(guest, site.world.token)
    assert isinstance(permit, Permit)
    life = site.status().life
    agent.send_signal(signal.SIGTERM)
    assert agent.wait() == 0
    assert not list(site.state.glob("*.sock"))
    site.agent()
    assert site.status().life == life
    assert permit.held
    permit.settle()


def test_a_changed_file_is_a_new_generation(site: Site, enter: Enter) -> None:
    """Every guest is told; until it has loaded the new one its gate refuses."""
    site.agent()
    guest = enter()
    _settled(guest, site.world.token)
    site.write(price="0.02")
    generation = site.status().policy_generation + 1
    assert _pushed(guest) == [Reload(generation=generation)]
    assert site.status().policy_generation == generation
    assert _reason(guest.gate.decide(site.world.token, 0)) is Reason.REVOCATION_UNAVAILABLE
    guest.load(generation)
    assert _settled(guest, site.world.token, 2 * PRICE).price == 2 * PRICE


def test_a_bad_file_leaves_the_old_one_in_force(site: Site, enter: Enter) -> None:
    """The refusal names the key; status says it; calls go on; a good file mends it."""
    site.agent()
    guest = enter()
    site.write(price="a lot")
    with Owner(site.state) as owner, pytest.raises(RefusedError, match="price"):
        owner.reload()
    assert "price" in site.status().configuration_error
    _settled(guest, site.world.token)
    site.write()
    with Owner(site.state) as owner:
        owner.reload()
    assert site.status().configuration_error == ""


def test_another_geometry_is_another_table(site: Site) -> None:
    """It cannot change while serving; at the next start the table is new, and that is said."""
    agent = site.agent()
    life = site.status().life
    _revoke(site, BRANCH, "article")
    text = site.file.read_text()
    site.file.write_text(text.replace("branches = 256", "branches = 512"))
    with Owner(site.state) as owner, pytest.raises(RefusedError, match="cannot change"):
        owner.reload()
    agent.kill()
    agent.wait()
    site.agent()
    status = site.status()
    assert status.life != life
    assert status.counts["revocations"] == 1  # from the journal
    said = [str(line.get("detail")) for line in site.audit()]
    assert any("a new table" in text for text in said)


def test_there_is_one_agent(site: Site) -> None:
    """A second one ends with status 2 and says why; the first is unharmed."""
    site.agent()
    second = subprocess.run(
        [sys.executable, "-m", "crewgate.agent", "-c", str(site.file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 2
    assert "another agent holds this table" in second.stderr
    assert second.stderr.count("\n") == 1
    assert site.status().ready


def test_a_state_folder_may_have_any_length(tmp_path: Path) -> None:
    """Longer than a unix address: doors, commands and guests find each other all the same."""
    site = Site(tmp_path, state="/".join(["d" * 60] * 3))
    try:
        site.agent()
        assert site.status().ready
        attachment = attach(site.state)
        attachment.connection.close()
        os.close(attachment.table)
    finally:
        site.end()


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage_ends_its_connection_only(site: Site, enter: Enter, garbage: bytes) -> None:
    """At either door; the agent goes on."""
    site.agent()
    for name in ("agent.sock", "owner.sock"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(site.state / name))
            connection.sendall(garbage)
            with suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
    _settled(enter(), site.world.token)


@pytest.mark.parametrize(
    ("asks", "says"),
    [
        ([Cut(id=1, last_cut_ns=0, count=0)], "attach first"),
        ([Attach(version=VERSION + 1)], f"version {VERSION + 1}"),
        ([Attach(version=VERSION), Attach(version=VERSION)], ""),
    ],
    ids=["not attached", "another version", "twice"],
)
def test_a_guest_that_breaks_the_protocol_is_put_out(
    site: Site, asks: list[Attach | Cut], says: str
) -> None:
    """It hears why where it can, its number is free again, and the agent goes on."""
    site.agent()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(site.state / "agent.sock"))
        connection.sendall(b"".join(map(pack, asks)))
        heard = b""
        with suppress(ConnectionResetError):
            while data := connection.recv(4096):
                heard += data
    assert says.encode() in heard
    assert site.status().counts["attachments"] == 0


def test_doors_have_their_modes(site: Site) -> None:
    """The group may attach; only the owner may revoke."""
    site.agent()
    assert (site.state / "agent.sock").stat().st_mode & 0o777 == 0o660
    assert (site.state / "owner.sock").stat().st_mode & 0o777 == 0o600
    assert (site.state / "table").stat().st_mode & 0o777 == 0o600


STRANGER = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(10)
    s.connect(sys.argv[2])
    print(len(s.recv(100)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("name", ["agent.sock", "owner.sock"])
def test_a_stranger_is_sent_away_whatever_the_files_mode(site: Site, name: str) -> None:
    """With the modes opened by mistake the kernel's word on who connects still decides."""
    site.agent()
    site.state.chmod(0o711)
    (site.state / name).chmod(0o666)
    stranger = subprocess.run(
        [sys.executable, "-c", STRANGER, str(site.state), name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert stranger.stdout == "0\n", stranger.stderr
    assert any("may not use" in str(line.get("detail")) for line in site.audit())
