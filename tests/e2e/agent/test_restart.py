"""What is the same after the agent was killed, ended, or told to load another file."""

import os
import signal
import subprocess
import sys

import msgspec
import pytest
from agent_process import PRICE, Enter, Site, reason
from crew_world import BRANCH

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.config.model import SEALING_KEYS
from crewgate.core.ids import branch_key
from crewgate.core.reasons import Reason
from crewgate.errors import ServiceConnectionError, ServiceRefusedError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.attach_messages import Reload
from crewgate.ipc.handshake import attach
from crewgate.runtime.sealing_key_file import read_sealing_keys


def spent(site: Site) -> dict[str, TreeRow]:
    """All that is known of branches, but for leases, which are filled ahead of calls meanwhile."""
    tree = site.tree().items()
    return {key: msgspec.structs.replace(row, leased=0, leased_on={}) for key, row in tree}


def test_a_killed_agent_forgets_nothing(site: Site, enter: Enter) -> None:
    """The next one has the same table: spend, revocations, who is who, and the same generation."""
    agent = site.agent()
    guest = enter()
    token = site.world.mint(credit_quota=5 * PRICE)
    for _ in range(3):
        guest.settled(token)
    dead = "0199c1d2-0000-7000-8000-000000000008"
    site.revoke(dead, "article")
    before, tree = site.status(), spent(site)
    sealing_keys = read_sealing_keys(site.state / SEALING_KEYS)
    agent.kill()
    agent.wait()
    site.agent()
    after = site.status()
    assert read_sealing_keys(site.state / SEALING_KEYS) == sealing_keys
    assert (after.life, after.policy_generation) == (before.life, before.policy_generation)
    assert after.revocation_generation > before.revocation_generation
    assert guest.table.is_revoked(branch_key("article", dead), limits.time_seconds_max)
    assert spent(site) == tree
    again = enter()
    for _ in range(2):
        again.settled(token)
    assert reason(again.call(token)) is Reason.CREDITS_EXHAUSTED


def test_a_guest_of_a_killed_agent_keeps_its_calls(site: Site, enter: Enter) -> None:
    """It attaches anew under its old number, and settles what it held all along."""
    agent = site.agent()
    guest = enter()
    permit = guest.call(site.world.token)
    assert isinstance(permit, Permit)
    agent.kill()
    agent.wait()
    site.agent()
    session = attach(site.state, previous=guest.attachment.attached)
    os.close(session.table)
    with session.connection:
        assert session.attached.number == guest.attachment.attached.number
        assert permit.has_reservation
        permit.settle()
        assert site.tree()[BRANCH].spent == PRICE
        with pytest.raises(ServiceConnectionError):
            guest.attachment.draw(permit.grant, PRICE, seconds=5)


def test_an_ended_agent_leaves_its_table_and_guests(site: Site, enter: Enter) -> None:
    """SIGTERM is status 0; the reservations of living guests are not burned."""
    agent = site.agent()
    guest = enter()
    permit = guest.call(site.world.token)
    assert isinstance(permit, Permit)
    life = site.status().life
    agent.send_signal(signal.SIGTERM)
    assert agent.wait() == 0
    assert not list(site.state.glob("*.sock"))
    site.agent()
    assert site.status().life == life
    assert permit.has_reservation
    permit.settle()


def test_a_changed_file_is_a_new_generation(site: Site, enter: Enter) -> None:
    """Every guest is told; until it has loaded the new one its gate refuses."""
    site.agent()
    guest = enter()
    guest.settled(site.world.token)
    site.write(price="0.02")
    generation = site.status().policy_generation + 1
    assert guest.pushed() == [Reload(generation=generation)]
    assert site.status().policy_generation == generation
    assert reason(guest.gate.decide(site.world.token, 0)) is Reason.REVOCATION_UNAVAILABLE
    guest.load(generation)
    assert guest.settled(site.world.token, 2 * PRICE).price_micro == 2 * PRICE


def test_a_bad_file_leaves_the_old_one_in_force(site: Site, enter: Enter) -> None:
    """The refusal names the key; status says it; calls go on; a good file mends it."""
    site.agent()
    guest = enter()
    site.write(price="a lot")
    with AdminClient(site.state) as owner, pytest.raises(ServiceRefusedError, match="price"):
        owner.reload()
    assert "price" in site.status().configuration_error
    guest.settled(site.world.token)
    site.write()
    with AdminClient(site.state) as owner:
        owner.reload()
    assert site.status().configuration_error == ""


def test_another_geometry_is_another_table(site: Site) -> None:
    """It cannot change while serving; at the next start the table is new, and that is said."""
    agent = site.agent()
    life = site.status().life
    site.revoke(BRANCH, "article")
    text = site.file.read_text()
    site.file.write_text(text.replace("branches = 256", "branches = 512"))
    with (
        AdminClient(site.state) as owner,
        pytest.raises(ServiceRefusedError, match="cannot change"),
    ):
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
    assert "another agent uses this state folder; end its `crewgate serve` first" in second.stderr
    assert second.stderr.count("\n") == 1
    assert site.status().ready
