"""`alerts` lists what waits for the receivers, sends it again, and tests a receiver."""

import json
from pathlib import Path

import pytest
from alert_fakes import NOW, SECRET, add, alert
from cli_runner import Run

from crewgate.alerts.outbox import REFUSED, AlertOutbox

CONFIG = """
[alert.oncall]
format = "webhook"
url = "http://127.0.0.1:9/in"
secret = "oncall.secret"
[alert.pager]
format = "pagerduty"
url = "http://127.0.0.1:9/"
secret = "pager.key"
"""


@pytest.fixture
def file(fresh: Path) -> Path:
    with fresh.open("a") as file:
        file.write(CONFIG)
    (fresh.parent / "oncall.secret").write_text(SECRET)
    return fresh


@pytest.fixture
def outbox(file: Path) -> AlertOutbox:
    """One refused alert of the pager, and two that wait for the other receiver."""
    found = AlertOutbox(file.parent / "state")
    add(found, alert(1, text="ledger of gw-1 is failed\x1b[31m"), alert(2), now=NOW)
    add(found, alert(3), now=NOW, name="pager")
    refused = found.next("pager", NOW)
    assert refused is not None
    found.give_up("pager", refused.seq, REFUSED, NOW + 5, "HTTP status 400")
    return found


def test_the_newest_are_listed_last(run: Run, file: Path, outbox: AlertOutbox) -> None:
    result = run("alerts", "list", "-c", str(file))
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert result.output.splitlines()[-4:] == [
        "2026-11-30 12:00:00Z  warning",
        "          number 3",
        "          Next: run `crewgate tree -c F`",
        "          pager: refused: HTTP status 400",
    ]
    assert "          oncall: waiting" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
    outbox.close()


def test_the_list_can_be_narrowed(run: Run, file: Path, outbox: AlertOutbox) -> None:
    result = run("alerts", "list", "-c", str(file), "pager", "--state", "refused", "--json")
    (row,) = json.loads(result.output)["alerts"]
    assert (row["receiver"], row["delivery"], row["why"]) == ("pager", "refused", "HTTP status 400")
    assert row["since"] == "2026-11-30T12:00:05Z"
    assert row["alert"]["text"] == "number 3"
    assert run("alerts", "list", "-c", str(file), "pager", "--state", "expired").output == (
        "no alerts\n"
    )
    one = run("alerts", "list", "-c", str(file), "--limit", "1", "--json")
    assert len(json.loads(one.output)["alerts"]) == 1
    outbox.close()


def test_all_that_is_left_is_sent_again(run: Run, file: Path, outbox: AlertOutbox) -> None:
    result = run("alerts", "retry", "-c", str(file))
    assert result.output == "oncall: 2 alerts wait\npager: 1 alert waits\n"
    assert outbox.tried("pager") == 1
    assert outbox.counts("pager").waiting == 1
    outbox.close()


def test_a_test_says_why_a_receiver_has_not_taken_it(run: Run, file: Path) -> None:
    """And tells the folder of the secret, not the secret."""
    result = run("alerts", "test", "-c", str(file))
    assert result.exit_code == 1
    first, second = result.output.splitlines()
    assert first == "oncall: http://127.0.0.1:9/in has not taken the alert: Connection refused"
    start = (
        "pager: http://127.0.0.1:9 has not taken the alert: alert pager: `secret` cannot be read: "
    )
    assert second.startswith(f"{start}no file below {file.parent} ")


@pytest.mark.parametrize("command", ["test", "list", "retry"])
def test_a_receiver_must_exist(run: Run, file: Path, command: str) -> None:
    result = run("alerts", command, "-c", str(file), "chat")
    assert result.exit_code == 2
    assert "no receiver [alert.chat]; the file has: oncall, pager" in result.output
    file.write_text(file.read_text().replace(CONFIG, ""))
    assert "there is no receiver; add a table" in run("alerts", command, "-c", str(file)).output


def test_no_command_makes_the_file_of_the_alerts_process(run: Run, file: Path) -> None:
    """Another user may have typed it, and the process could not open it then."""
    assert run("alerts", "list", "-c", str(file)).output == "no alerts\n"
    result = run("alerts", "retry", "-c", str(file))
    assert result.exit_code == 2
    assert "no alerts process has run here yet; start `crewgate serve`" in result.output
    assert not (file.parent / "state" / "alerts").exists()
