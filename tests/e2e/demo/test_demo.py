"""The incident, on a real gateway: `crewgate demo --json`, as anybody would type it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from crewgate import limits


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The demo, played once."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "crewgate.cli", "demo", "--json"]
    environment = os.environ | {"TMPDIR": str(folder)}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert list(Path(folder).iterdir()) == []  # it takes everything away again
    return answer


@pytest.fixture
def story(demo: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Its one JSON object."""
    assert demo.stdout, demo.stderr
    document: dict[str, Any] = json.loads(demo.stdout)
    return document


def test_the_story_held(demo: subprocess.CompletedProcess[str], story: dict[str, Any]) -> None:
    """Every promise, by the gateway's answers and the audit, and so the exit status is 0."""
    assert story["broken"] == []
    assert story["held"]
    assert demo.returncode == 0, demo.stderr


def test_a_rule_ended_the_loop(story: dict[str, Any]) -> None:
    """Nine calls were answered, some ten more refused, and then the branch had ended."""
    found = story["researcher"]
    assert (found["admitted"], found["spent_credits"]) == (9, 0.09)
    assert found["refused"] >= 10
    assert found["last"] == "401 branch-revoked"


def test_an_alert_said_so(story: dict[str, Any]) -> None:
    """It came to a receiver while the siblings worked, and its signature was verified."""
    assert "has ended" in story["alert"]["text"]
    assert story["alert"]["is_signed"] is True


def test_what_no_rule_finds_ends_at_its_credits(story: dict[str, Any]) -> None:
    """2.50 credits at 0.01 a call are 250 calls; every other attempt was refused."""
    assert story["collector"] == {
        "admitted": 250,
        "refused": 50,
        "spent_credits": 2.5,
        "quota_credits": 2.5,
        "last": "403 credits-exhausted",
    }


def test_the_scraping_was_refused(story: dict[str, Any]) -> None:
    """A tool outside the scope is 403, however good the credentials."""
    assert story["scope_denials"] == limits.demo_sibling_calls // limits.demo_scrape_every


def test_the_revocation_cut_the_stream(story: dict[str, Any]) -> None:
    """Within the mission's 200 ms, and nothing of the branch was admitted afterwards."""
    assert story["revocation"]["cut_ms"] < 200
    assert story["revocation"]["calls_admitted_after"] == 0


def test_nobody_else_was_touched(story: dict[str, Any]) -> None:
    """Siblings and orchestrator succeed throughout, and every call has a name."""
    assert story["siblings"] == {"calls": 4 * limits.demo_sibling_calls, "failed": 0}
    assert story["unattributed_calls"] == 0


def test_a_copied_token_was_worthless_within_the_crew(story: dict[str, Any]) -> None:
    """Neither alone nor with a proof of the copier's key."""
    assert story["copied"] == {"alone": "401 invalid-proof", "other_key": "401 invalid-proof"}


def test_a_copied_token_did_not_cross(story: dict[str, Any]) -> None:
    """Refused where nobody shows a certificate, dropped in the handshake where one is asked for."""
    border = story["border"]
    assert border["admitted"] == 2  # a call and a stream, by the certificate
    assert border["copied"] == "401 invalid-proof"
    assert border["dropped"] == "certificate required"


def test_the_orchestrator_that_left_was_out_at_once(story: dict[str, Any]) -> None:
    """Its stream closed, its certificate and its token dead; its sibling lost nothing."""
    border = story["border"]
    assert border["closed_ms"] < 200
    assert (border["after"], border["token_after"]) == ("certificate revoked", "401 branch-revoked")
    assert (border["others_calls"], border["others_failed"]) == (limits.demo_border_calls, 0)


def test_a_branch_that_one_gateway_ended_was_out_at_all_three(story: dict[str, Any]) -> None:
    """Its stream at the second and its calls at the third; the receipt is of three machines."""
    everywhere = story["everywhere"]
    assert 0 < everywhere["cut_ms"] < 200
    assert (everywhere["applied_on"], everywhere["of"]) == (3, 3)
    assert everywhere["calls_admitted"] > 0
    assert everywhere["calls_admitted_after"] == 0
    assert everywhere["calls_refused_after"] >= limits.demo_after_calls
    assert everywhere["others_calls"] > 2 * limits.demo_after_calls
    assert everywhere["others_failed"] == 0


def test_it_can_be_read_while_it_plays(demo: subprocess.CompletedProcess[str]) -> None:
    """What happens is told on standard error; standard output is the one object."""
    assert "call 10 of the researcher to /search is refused: 403 loop-detected" in demo.stderr
    assert "call 251 of the collector to /search is refused: 403 credits-exhausted" in demo.stderr
    revoked = demo.stderr.index("a person revokes the fact-checker's branch")
    assert revoked < demo.stderr.index("the stream of the fact-checker ends: error event")
    assert "the receipt: on the disks of 3 of 3 machines after " in demo.stderr
    assert "Every promise held" in demo.stderr
    assert demo.stdout.count("\n") == 1


EARLY, LATE = "calls /search", "two more gateways start"


@pytest.mark.parametrize(
    ("number", "line"), [(signal.SIGTERM, EARLY), (signal.SIGINT, EARLY), (signal.SIGKILL, LATE)]
)
def test_whatever_ends_it_nothing_stays_behind(
    tmp_path: Path, number: signal.Signals, line: str
) -> None:
    """No process of the demo outlives it, not even a SIGKILL; but for that the folder goes too."""
    command = [sys.executable, "-m", "crewgate.cli", "demo"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as demo:
        assert demo.stdout is not None
        assert any(line in told for told in demo.stdout)
        demo.send_signal(number)
        demo.communicate()
    assert demo.returncode != 0
    deadline = time.monotonic() + 60
    while _processes_of(tmp_path):
        assert time.monotonic() < deadline, _processes_of(tmp_path)
        time.sleep(0.1)
    if number is not signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


def _processes_of(folder: Path) -> list[str]:
    """Command lines of whatever inherited that TMPDIR: all that the demo and its children began."""
    mark = os.fsencode(f"TMPDIR={folder}\0")
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes():
                line = (path / "cmdline").read_bytes()
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
