"""`crewgate serve` and its commands as real processes."""

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from agent_process import COMMAND, Guest, Site
from crew_world import BRANCH
from orchestrators import is_running

from crewgate import __version__

Enter = Callable[..., Guest]


def _wait(what: Callable[[], bool]) -> None:
    """Until it holds; the test's own time limit bounds it."""
    while not what():
        time.sleep(0.02)


def _ready(site: Site) -> None:
    found = site.command("status", "--wait", "100")
    assert found.returncode == 0, found
    assert found.stdout.startswith("ready\n")


def test_serve_lives_from_ready_to_sigterm(site: Site) -> None:
    """`status --wait` may come first; SIGTERM is status 0, and nothing is left running.

    The log has the version and the file first, then that the machine is ready, and its end last.
    """
    waiting = subprocess.Popen(
        [*COMMAND, "status", "-c", str(site.file), "--wait", "100"], stdout=subprocess.PIPE
    )
    serve = site.serve()
    output, _ = waiting.communicate()
    assert (waiting.returncode, output.splitlines()[0]) == (0, b"ready")
    agent = site.status().pid
    serve.send_signal(signal.SIGTERM)
    assert serve.wait() == 0
    assert not is_running(agent)
    assert site.command("status").returncode == 2
    first, *more, last = (site.folder / "serve.log").read_text().splitlines()
    assert f"INFO serve: Crewgate {__version__} starts, with {site.file}" in first
    assert sum("INFO agent: ready: the gateway admits calls" in line for line in more) == 1
    assert last.endswith("INFO serve: ended")


def test_a_killed_serve_takes_its_agent_along_and_a_new_one_goes_on(site: Site) -> None:
    """SIGKILL of the supervisor; the next one starts at once on the same table."""
    serve = site.serve()
    _ready(site)
    before = site.status()
    serve.kill()
    serve.wait()
    again = site.serve()
    _ready(site)
    after = site.status()
    assert not is_running(before.pid)
    assert (after.life, after.pid != before.pid) == (before.life, True)
    again.send_signal(signal.SIGTERM)
    assert again.wait() == 0


def test_a_killed_agent_is_started_again(site: Site) -> None:
    """Again and again, on the same table, and the supervisor says so."""
    site.serve()
    _ready(site)
    first = site.status()
    os.kill(first.pid, signal.SIGKILL)
    _wait(lambda: not is_running(first.pid))
    _ready(site)
    assert site.status().life == first.life
    assert "agent was ended by SIGKILL" in (site.folder / "serve.log").read_text()


def test_a_second_serve_is_refused(site: Site) -> None:
    """One line that says why, status 2; the first goes on."""
    site.serve()
    _ready(site)
    second = site.command("serve")
    assert second.returncode == 2
    assert "another agent uses this state folder; end its `crewgate serve` first" in second.stderr
    _ready(site)


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda site: site.write(price="a lot"), "price"),
        (lambda site: (site.folder / "jwks.json").write_text("{}"), "jwks.json"),
        (lambda site: site.file.unlink(), "cannot be read"),
    ],
    ids=["value", "keys", "missing"],
)
def test_serve_refuses_a_bad_configuration(
    site: Site, break_it: Callable[[Site], object], says: str
) -> None:
    """Before anything starts: what is wrong and where, status 2."""
    break_it(site)
    found = site.command("serve")
    assert found.returncode == 2
    assert says in found.stderr
    assert "Traceback" not in found.stderr


def test_sighup_reloads_a_good_file_and_refuses_a_bad_one(site: Site, enter: Enter) -> None:
    """A bad file is said and the old one stays; a good one is a new generation for everybody."""
    serve = site.serve()
    _ready(site)
    generation = site.status().policy_generation
    site.write(price="a lot")
    serve.send_signal(signal.SIGHUP)
    _wait(
        lambda: (
            "WARNING serve: keeping the active configuration: "
            in (site.folder / "serve.log").read_text()
        )
    )
    assert site.status().policy_generation == generation
    site.write(price="0.02")
    serve.send_signal(signal.SIGHUP)
    _wait(lambda: site.status().policy_generation > generation)
    assert site.status().configuration_error == ""


def test_revoke_and_tree_on_the_command_line(site: Site, enter: Enter) -> None:
    """A branch that drew is in the tree; revoked by its id alone, it is shown as such."""
    site.serve()
    _ready(site)
    guest = enter()
    verdict = guest.gate.decide(site.world.token, 0)
    guest.attachment.draw(verdict.grant, 10_000, seconds=5)
    shown = site.command("tree")
    assert BRANCH in shown.stdout
    revoked = site.command("revoke", BRANCH, "--json")
    assert revoked.returncode == 0, revoked.stderr
    assert f'"branch": "{BRANCH}"' in revoked.stdout
    assert "revoked" in site.command("tree").stdout
    unseen = site.command("revoke", "0199c1d2-0000-7000-8000-0000000000ff")
    assert (unseen.returncode, unseen.stdout) == (2, "")
    assert "--crew article" in unseen.stderr
