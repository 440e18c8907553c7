"""`crewgate ui` says why it cannot start, and `crewgate check` what nobody can use."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest
from cli_runner import Run

from crewgate.cli.backup.inventory import inventory
from crewgate.config import load

UI = "[ui]\nport = 8470\n"
LOGIN = """
[ui.login]
issuer = "https://localhost:1"
client_id = "crewgate"
client_secret = "ui.secret"
[ui.access.oncall]
groups = ["sre"]
"""


def _with(file: Path, text: str) -> Path:
    with file.open("a") as opened:
        opened.write(text)
    return file


def test_without_an_agent_there_is_no_link(run: Run, fresh: Path) -> None:
    """Nobody could do anything on the page, and the agent has not said who this user is."""
    result = run("ui", "-c", fresh)
    assert result.exit_code == 2
    assert "#/code/" not in result.output
    assert "`crewgate serve`" in result.output


class Agent:
    """An agent that runs as a user."""

    def __init__(self, uid: int) -> None:
        self.agent = SimpleNamespace(uid=uid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def status(self) -> None:
        """Answer."""


def test_root_is_sent_to_the_user_of_the_gateway(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway could not read the audit files of another user."""
    other = os.geteuid() + 1
    monkeypatch.setattr("crewgate.cli.live_page.AdminClient", lambda _: Agent(other))
    result = run("ui", "-c", fresh)
    assert result.exit_code == 2
    assert "run `crewgate ui` as that user, such as with `sudo -u " in result.output


def test_a_port_that_is_taken_is_named(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewgate.cli.live_page.AdminClient", lambda _: Agent(os.geteuid()))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run("ui", "-c", fresh, "--port", port)
    assert result.exit_code == 2
    assert f"--port: cannot listen on 127.0.0.1 port {port}: another program" in result.output


def test_check_warns_of_a_page_for_nobody(run: Run, fresh: Path) -> None:
    """It may still be meant for `crewgate ui`."""
    result = run("check", "-c", _with(fresh, UI))
    assert "[ui]: nobody can log in to the page that `serve` runs" in result.output


def test_check_reads_the_files_of_the_page(run: Run, fresh: Path) -> None:
    """The secret must be there and for this user alone, the provider must answer."""
    _with(fresh, UI + LOGIN)
    secret = fresh.parent / "ui.secret"
    output = run("check", "-c", fresh).output
    assert f"[ui.login] client_secret: no file below {fresh.parent} has the configured" in output
    assert "ui.secret" not in output
    secret.write_text("")
    assert "expected one line, the secret of crewgate" in run("check", "-c", fresh).output
    secret.write_text("s3cret\n")
    secret.chmod(0o644)
    result = run("check", "-c", fresh)
    assert f"{secret}: a secret of the gateway that others may read" in result.output
    assert "[ui.login]: nobody can log in now: https://localhost:1/.well-known" in result.output
    assert "s3cret" not in result.output
    _with(fresh, "")
    text = fresh.read_text().replace("[ui]\n", '[ui]\ncertificate = "no.pem"\nkey = "no.key"\n')
    fresh.write_text(text)
    assert "[ui]: " in run("check", "-c", fresh).output


def test_a_backup_has_the_secret_and_no_session(run: Run, fresh: Path) -> None:
    """A restored file of sessions would undo each logout since the backup."""
    _with(fresh, UI + LOGIN)
    sessions = fresh.parent / "state" / "ui" / "sessions.json"
    sessions.parent.mkdir(parents=True)
    sessions.write_text('{"sessions": []}')
    paths = {each.path for each in inventory(load(fresh))}
    assert fresh.parent / "ui.secret" in paths
    assert sessions not in paths


def test_a_machine_made_from_another_gets_its_own_port(run: Run, fresh: Path) -> None:
    """And a URL with that port, if the URL names the port of [ui]."""
    _with(fresh, UI.replace("\n", '\nurl = "http://localhost:8470"\n', 1) + LOGIN)
    second = fresh.parent.parent / "second"
    result = run("init", second, "--from", fresh, "--port", 9100, "--budgets", "per-machine")
    assert result.exit_code == 0, result.output
    page = load(second / "crewgate.toml").ui
    assert page is not None
    assert page.port != 8470
    assert page.url == f"http://localhost:{page.port}"
    assert page.login is not None
    assert page.login.client_secret == fresh.parent / "ui.secret"
