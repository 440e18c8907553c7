"""The alerts of a whole gateway: each arrives, whatever happens to process and receiver."""

import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alert_receiver import SECRET, Receiver
from command_process import crewgate
from installation import Installation, wait_until

from crewgate.issuer import Orchestrator

ALERTS = """
[alert.oncall]
format = "webhook"
url = "http://127.0.0.1:{port}/alerts"
secret = "oncall.secret"
severity = "info"
[alert.chat]
format = "slack"
secret = "slack.url"
kinds = ["run-credits", "branch-ended"]
crews = ["article"]
thresholds = [80]
"""
LOOPS = 'mode = "enforce"\nwarn = 5\nrefuse = 6\nend = 8'


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.end()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Installation]:
    site = Installation(tmp_path_factory.mktemp("alerts"), workers=1, price="0.50")
    port = receiver.server_address[1]
    _write(site.folder / "oncall.secret", SECRET)
    _write(site.folder / "slack.url", f"http://127.0.0.1:{port}/services/T0/s3cret")
    with site.file.open("a") as file:
        file.write(ALERTS.format(port=port))
    site.edit('mode = "observe"', LOOPS)
    try:
        site.serve()
        yield site
    finally:
        site.end()


@pytest.fixture(scope="module")
def orchestrator(site: Installation) -> Orchestrator:
    return site.orchestrator()


def _write(path: Path, text: str) -> None:
    path.write_text(f"{text}\n")
    path.chmod(0o600)


async def _run(site: Installation, orchestrator: Orchestrator, calls: int) -> str:
    """A run of 2.00 credits that makes calls of 0.50; its branch."""
    run = orchestrator.start_run(credits="2", tools=["search.*"])
    async with site.client() as client:
        for _ in range(calls):
            headers = {"authorization": f"Bearer {run.token()}"}
            assert (await client.post("/search", headers=headers)).status_code == 200
    return run.branch


def _tested(site: Installation, *more: str) -> tuple[int, str]:
    done = crewgate("alerts", "test", "-c", str(site.file), *more)
    return done.returncode, done.stdout


def test_a_test_reaches_each_receiver(site: Installation, receiver: Receiver) -> None:
    """And says what a receiver has answered that does not take it."""
    status, printed = _tested(site)
    assert status == 0
    (sent,) = receiver.about(f"machine/{site.ask('status')['machine']}/test")
    assert printed.splitlines()[0] == f"oncall: took the alert {sent['id']}"
    assert sent["type"] == "test"
    assert len(receiver.messages) == 1
    receiver.status = 403
    status, printed = _tested(site, "oncall")
    receiver.status = 200
    assert status == 1
    assert printed.endswith("has not taken the alert: HTTP status 403 (ok); check `secret`\n")


async def test_a_budget_and_the_end_of_a_branch(
    site: Installation, receiver: Receiver, orchestrator: Orchestrator
) -> None:
    """In their order; Slack gets what it asked for."""
    before = len(receiver.messages)
    branch = await _run(site, orchestrator, 1)
    await _run(site, orchestrator, 4)
    wait_until(lambda: len(_ends(receiver)) >= 1)
    site.run("revoke", branch)
    subject = f"branch/{branch}"
    wait_until(lambda: bool(receiver.about(subject)))
    (ended,) = receiver.about(subject)
    assert (ended["type"], ended["severity"]) == ("branch-ended", "info")
    assert f"a person on machine {ended['machine']} revoked it" in ended["text"]
    assert f"crewgate audit -c {site.file} --branch {branch}" in ended["next"]
    wait_until(lambda: len(receiver.messages) == before + 2)
    texts = "".join(each["text"] for each in receiver.messages[before:])
    assert "has spent 2.00 of 2.00 credits (100 % are reached); its calls are refused" in texts
    assert branch in texts


async def test_a_loop_is_told_step_by_step(
    site: Installation, receiver: Receiver, orchestrator: Orchestrator
) -> None:
    """From the warning to the end, in order, with the command that shows the calls."""
    run = orchestrator.start_run(credits="10", tools=["search.*"])
    headers = {"authorization": f"Bearer {run.token()}"}
    async with site.client() as client:
        for _ in range(20):
            await client.post("/search", headers=headers, json={"q": "otters"})
    subject = f"branch/{run.branch}"
    wait_until(lambda: "end" in _steps(receiver, subject))
    steps = _steps(receiver, subject)
    assert [step for step in steps if step in {"refuse", "end"}] == ["refuse", "end"]
    (end,) = (each for each in receiver.about(subject) if each["data"].get("step") == "end")
    assert (end["type"], end["severity"], end["data"]["count"]) == ("rule", "critical", 8)
    assert "has ended branch" in end["text"]
    assert f"crewgate audit -c {site.file} --branch {run.branch}" in end["next"]


def _steps(receiver: Receiver, subject: str) -> list[str]:
    return [each["data"]["step"] for each in receiver.about(subject) if each["type"] == "rule"]


def _ends(receiver: Receiver) -> list[dict[str, Any]]:
    return [each for each in list(receiver.alerts) if each["data"].get("percent") == 100]


def test_a_killed_process_loses_and_repeats_nothing(
    site: Installation, receiver: Receiver, orchestrator: Orchestrator
) -> None:
    """Each revocation is told, once by its id; the end of a process as well."""
    branches = []
    for _ in range(3):
        (process,) = site.children("alerts")
        for kills in (True, False):
            run = orchestrator.start_run(credits="1", tools=["search.*"])
            branches.append(run.branch)
            site.run("revoke", run.branch, "--crew", "article")
            if kills:
                os.kill(process, signal.SIGKILL)
        wait_until(lambda old=process: site.children("alerts") not in ([], [old]))  # type: ignore[misc]
    for branch in branches:
        wait_until(lambda branch=branch: bool(receiver.about(f"branch/{branch}")))  # type: ignore[misc]
        assert len(receiver.about(f"branch/{branch}")) == 1
    machine = site.ask("status")["machine"]
    subject = f"machine/{machine}/process alerts"
    wait_until(lambda: bool(receiver.about(subject)))
    restarts = receiver.about(subject)[-1]["data"]["restarts"]
    assert 1 <= restarts <= 3


def test_a_receiver_that_is_away_shows_and_loses_nothing(
    site: Installation, receiver: Receiver, orchestrator: Orchestrator
) -> None:
    """`status` names it and the gateway stays ready; a person need not wait for the pause."""
    receiver.status = 503
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    site.run("revoke", run.branch, "--crew", "article")
    wait_until(lambda: "alerts to oncall" in _troubles(site))
    assert "HTTP status 503" in _troubles(site)["alerts to oncall"]
    assert site.ask("status")["ready"]
    waiting = site.ask("alerts", "list", "oncall", "--state", "waiting")["alerts"]
    assert f"branch/{run.branch}" in [each["alert"]["subject"] for each in waiting]
    (process,) = site.children("alerts")
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: site.children("alerts") not in ([], [process]))
    receiver.status = 200
    site.run("alerts", "retry", "oncall")
    wait_until(lambda: bool(receiver.about(f"branch/{run.branch}")))
    wait_until(lambda: "alerts to oncall" not in _troubles(site))
    delivered = site.ask("alerts", "list", "oncall", "--state", "delivered")["alerts"]
    assert f"branch/{run.branch}" in [each["alert"]["subject"] for each in delivered]


def test_receiver_and_process_can_both_be_restarted(
    site: Installation, receiver: Receiver, orchestrator: Orchestrator
) -> None:
    """Whichever comes back first: what happened meanwhile arrives."""
    receiver.end()
    (process,) = site.children("alerts")
    os.kill(process, signal.SIGKILL)
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    site.run("revoke", run.branch, "--crew", "article")
    wait_until(lambda: "Connection refused" in _troubles(site).get("alerts to oncall", ""))
    receiver.begin_again()
    wait_until(lambda: bool(receiver.about(f"branch/{run.branch}")))
    wait_until(lambda: "alerts to oncall" not in _troubles(site))


def _troubles(site: Installation) -> dict[str, str]:
    found: list[dict[str, Any]] = site.ask("status")["health"]
    return {each["component"]: each["why"] for each in found if each["state"] != "ok"}


def test_no_secret_is_shown(site: Installation) -> None:
    """Neither in the log, nor in the files of the alerts."""
    assert "s3cret" in base64.b64decode(SECRET.removeprefix("whsec_")).decode()
    hidden = SECRET.encode(), b"s3cret"
    files = [site.folder / "serve.log", *(site.folder / "state" / "alerts").iterdir()]
    for path in files:
        content = path.read_bytes()
        assert not any(each in content for each in hidden), path


def test_the_last_records_are_told_at_the_end(
    site: Installation, receiver: Receiver, orchestrator: Orchestrator
) -> None:
    """And a second process of alerts does not start."""
    again = crewgate("alerts", "list", "-c", str(site.file))
    assert again.returncode == 0
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    site.run("revoke", run.branch, "--crew", "article")
    assert site.stop() == 0
    assert receiver.about(f"branch/{run.branch}")
