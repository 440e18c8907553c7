"""What `status` says while calls are refused, and once they are not: exit status, words, log."""

import json
import subprocess
from pathlib import Path
from typing import Any

import trio
from command_process import crewgate
from installation import Installation, installed, wait_until


def _status(site: Installation, *more: str) -> "subprocess.CompletedProcess[str]":
    return crewgate("status", "-c", site.file, *more)


def _health(site: Installation) -> tuple[int, dict[str, Any]]:
    """Exit status, and conditions by component."""
    done = _status(site, "--json")
    found = json.loads(done.stdout)
    assert found["ready"] is (done.returncode < 2)
    assert found["state"] == ("ok", "degraded", "failed")[done.returncode]
    return done.returncode, {each["component"]: each for each in found["health"]}


def _answer(site: Installation, token: str) -> tuple[int, str]:
    async def call() -> tuple[int, str]:
        async with site.client() as client:
            headers = {"authorization": f"Bearer {token}"}
            found = await client.post("/search", headers=headers, json={})
            return found.status_code, found.text

    return trio.run(call)


def test_an_audit_that_cannot_be_written_is_no_readiness(tmp_path: Path) -> None:
    """The folder is gone: calls are refused, and `status` says so, since when and what to do.

    Then it is back: both are well again by themselves, and the log has one line for each change.
    """
    with installed(tmp_path, workers=1) as site:
        agent = site.orchestrator().start_run(credits="900", tools=["search.*"])
        wait_until(lambda: "audit" in _health(site)[1])  # the worker reports it once a second
        code, found = _health(site)
        assert (code, found["audit"]["state"]) == (0, "ok")
        audit = site.folder / "state" / "audit"
        audit.rename(audit.with_name("away"))
        audit.touch()
        wait_until(lambda: _health(site)[0] == 2)
        assert _answer(site, agent.token())[0] == 503
        _, found = _health(site)
        assert found["audit"]["refuses"] is True
        assert found["audit"]["since"] > 0
        text = _status(site).stdout
        assert text.splitlines()[0].startswith("not ready: audit")
        assert "name another [audit] folder" in " ".join(text.split())
        long = [line for line in text.splitlines() if len(line) > 80]
        assert all(str(site.folder) in line for line in long)  # a path stays whole
        audit.unlink()
        audit.with_name("away").rename(audit)
        wait_until(lambda: _health(site)[0] == 0)
        assert _answer(site, agent.token())[0] == 200
        log = (site.folder / "serve.log").read_text()
        assert log.count("health: audit: failed: ") == 1


def test_a_control_process_that_is_away_degrades_and_refuses_no_call(tmp_path: Path) -> None:
    """The folder of the CA is gone: `serve` starts it again and again. Exit status 1."""
    with installed(tmp_path, workers=1) as site:
        (site.folder / "ca").rename(site.folder / "away")
        wait_until(lambda: _health(site)[0] == 1)
        _, found = _health(site)
        assert any(each["state"] == "failed" for name, each in found.items() if "control" in name)
        assert _status(site).stdout.splitlines()[0].startswith("ready, but degraded: control")
