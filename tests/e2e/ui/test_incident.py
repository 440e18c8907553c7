"""An incident on three machines by the page alone: three clicks from the alert to the receipt."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from alert_receiver import SECRET, Receiver
from blocking_clients import OK, REVOKED, Caller, becomes
from browsers import Visitor, needs_chromium, sign_in, visitor
from cluster_configs import gateways
from installation import Installation, wait_until
from live_page_process import serve_page
from oidc_provider import Provider, provider
from playwright.sync_api import Browser, expect

from crewgate.issuer import Orchestrator

pytestmark = needs_chromium
ACCESS = """
[ui.access.oncall]
groups = ["sre"]
rights = ["operate"]
"""
ALERTS = """
[alert.oncall]
format = "webhook"
url = "http://127.0.0.1:{port}/alerts"
secret = "oncall.secret"
kinds = ["rule"]
"""


class Drill(NamedTuple):
    """Three machines with a page each, and who gets the alerts of the second one."""

    machines: list[Installation]
    urls: list[str]
    receiver: Receiver


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider")) as found:
        found.know("grace", groups=["sre"])
        yield found


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory, identity: Provider) -> Iterator[Drill]:
    receiver = Receiver()
    try:
        with gateways(tmp_path_factory.mktemp("drill"), 3) as machines:
            _send_alerts(machines[1], receiver)
            yield Drill(
                machines, [serve_page(each, identity, ACCESS) for each in machines], receiver
            )
    finally:
        receiver.end()


def _send_alerts(machine: Installation, receiver: Receiver) -> None:
    secret = machine.folder / "oncall.secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    with machine.file.open("a") as file:
        file.write(ALERTS.format(port=receiver.server_address[1]))


def _links(receiver: Receiver, branch: str) -> list[str]:
    """The links of the alerts that a rule would end a branch."""
    alerts: list[dict[str, Any]] = receiver.about(f"branch/{branch}")
    return [each["link"] for each in alerts if each["data"].get("step") == "end"]


def test_from_the_alert_to_the_receipt(browser: Browser, drill: Drill) -> None:
    """The branch calls at the second machine; all three refuse it, and the third one's page shows.

    In between, the page loses its process, and is back by itself.
    """
    machines, urls, receiver = drill
    with Orchestrator.from_config(machines[0].file, crew="article") as article:
        run = article.start_run(credits="100", tools=["search.*"])
        loop = run.spawn(credits="50", tools=["search.*"], role="looper")
        with closing(Caller(machines[1])) as caller:
            assert {caller.call(loop.token()) for _ in range(21)} == {OK}
        wait_until(lambda: bool(_links(receiver, loop.branch)))
        with visitor(browser, urls[1], ignore_https_errors=True) as visit:
            sign_in(visit.page, urls[1], "grace")
            expect(visit.page.get_by_text("live · 3 machines").first).to_be_visible()
            _stop_for_a_while(visit, machines[1])
            _end_in_three_clicks(visit, _links(receiver, loop.branch)[0], loop.branch)
        for machine in machines:
            with closing(Caller(machine)) as caller:
                becomes(caller, loop.token(), REVOKED)
                assert caller.call(run.token()) == OK
    with visitor(browser, urls[2], ignore_https_errors=True) as visit:
        sign_in(visit.page, f"{urls[2]}/#/branch/article/{loop.branch}", "grace")
        panel = visit.page.get_by_role("article", name="looper")
        expect(panel).to_contain_text("revoked")
        expect(panel).to_contain_text("person/grace")
    events = machines[2].ask("audit", "--revocations", "--branch", loop.branch)["revocations"]
    assert "person/grace" in {each["by"] for each in events}


def _stop_for_a_while(visit: Visitor, machine: Installation) -> None:
    """The page says that it hears nothing, and goes on once the process does."""
    (process,) = machine.children("ui")
    os.kill(process, signal.SIGSTOP)
    try:
        expect(
            visit.page.get_by_text("The connection is lost. What you see is from")
        ).to_be_visible()
    finally:
        os.kill(process, signal.SIGCONT)
    expect(visit.page.get_by_text("live · 3 machines").first).to_be_visible()


def _end_in_three_clicks(visit: Visitor, link: str, branch: str) -> None:
    visit.page.goto(link)  # the first, in the chat
    expect(visit.page.get_by_role("article", name="looper")).to_contain_text("would end branch")
    visit.page.get_by_role("button", name="End …", exact=True).click()
    visit.page.get_by_role("button", name="End it").click()
    dialog = visit.page.get_by_role("dialog")
    expect(dialog).to_contain_text("In force on 3 of 3 machines")
    expect(dialog).to_contain_text(f"revoked {branch} of crew article")
