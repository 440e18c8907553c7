"""The admin listener of a whole gateway: what probes see of starts, ends and stuck processes."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, installed, wait_until

Answer = tuple[int, str]


def ask(port: int, path: str) -> Answer:
    """Status and body; the status is 0 if the port is closed."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        try:
            client.request("GET", path)
        except ConnectionRefusedError:
            return 0, ""
        found = client.getresponse()
        return found.status, found.read().decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("admin"), workers=1) as site:
        yield site


def test_a_gateway_of_init_answers_probes(site: Installation) -> None:
    """Four ports above its first one."""
    assert ask(site.port + 4, "/livez") == (200, "ok\n")
    status, body = ask(site.port + 4, "/readyz")
    assert (status, '"status":"ok"' in body) == (200, True)
    wanted = 404, "this listener has /livez, /readyz and /metrics\n"
    assert ask(site.port + 4, "/nothing") == wanted


def metrics(site: Installation) -> dict[str, float]:
    """The samples of a scrape."""
    status, text = ask(site.port + 4, "/metrics")
    assert status == 200
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in samples}


def _metrics_when_ready(site: Installation) -> dict[str, float]:
    """The agent notes once a second whether the machine is ready."""
    found: dict[str, float] = {}

    def is_ready() -> bool:
        found.update(metrics(site))
        return found["crewgate_ready"] == 1

    wait_until(is_ready)
    return found


async def test_a_scrape_has_the_counts_of_all_processes(site: Installation) -> None:
    """Calls, credits, refusals, revocations, the ledger, the processes; from every process."""
    run = site.orchestrator().start_run(role="researcher", tools=["search.*"], credits="5")
    async with site.client() as client:
        for token in (run.token(), run.token(), "no.good.token"):
            await client.post("/search", headers={"authorization": f"Bearer {token}"}, json={})
        token = run.token()
        site.run("revoke", run.branch)
        gone = {"authorization": f"Bearer {token}"}
        assert (await client.post("/search", headers=gone, json={})).status_code == 401
    who = 'listener="agents",tool="search.web",crew="article"'
    wanted = {
        f'crewgate_requests_total{{{who},outcome="done",reason="",status="200"}}': 2,
        f'crewgate_requests_total{{{who},outcome="refused",reason="branch-revoked",status=""}}': 1,
        'crewgate_spent_credits_total{crew="article",tool="search.web"}': 2,
        'crewgate_request_duration_seconds_count{listener="agents",tool="search.web"}': 2,
        'crewgate_verdict_duration_seconds_count{listener="agents"}': 3,
        'crewgate_upstream_response_seconds_count{tool="search.web"}': 2,
        'crewgate_unauthenticated_requests_total{listener="agents",reason="invalid-token"}': 1,
        'crewgate_tls_handshakes_total{listener="agents",result="completed"}': 1,
        'crewgate_bad_tokens_total{listener="agents",effect="refused"}': 1,
        'crewgate_revocations_total{kind="branch",origin="local"}': 1,
        "crewgate_revoke_to_cut_seconds_count": 1,
        'crewgate_lease_draws_total{result="granted"}': 1,
        "crewgate_ready": 1,
    }
    found = _metrics_when_ready(site)
    assert {name: found.get(name) for name in wanted} == wanted
    for process in ("admin", "agent", "control", "worker-0"):
        assert found[f'crewgate_process_resident_memory_bytes{{process="{process}"}}'] > 10_000_000
    (worker,) = site.children("gateway")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: site.children("gateway") not in ([], [worker]))
    again = _metrics_when_ready(site)
    assert {name: again.get(name) for name in wanted} == wanted
    assert again['crewgate_process_restarts_total{process="worker-0"}'] == 1


def test_a_stopped_agent_is_not_ready(site: Installation) -> None:
    """And ready again as soon as it goes on."""
    (agent,) = site.children("agent")
    os.kill(agent, signal.SIGSTOP)
    try:
        wait_until(lambda: ask(site.port + 4, "/readyz")[0] == 503)
        assert "does not answer" in ask(site.port + 4, "/readyz")[1]
        assert ask(site.port + 4, "/livez")[0] == 200
    finally:
        os.kill(agent, signal.SIGCONT)
    wait_until(lambda: ask(site.port + 4, "/readyz")[0] == 200)


def test_the_listener_follows_the_file(site: Installation) -> None:
    """To another port, to a unix socket, away, and back; no other process starts again."""
    others = site.children("agent") + site.children("gateway") + site.children("control")
    old, new = site.port + 4, site.port + 11
    site.edit(f"[admin]\nport = {old}", f"[admin]\nport = {new}")
    os.kill(site.serving.pid, signal.SIGHUP)
    wait_until(lambda: ask(new, "/livez")[0] == 200)
    assert ask(old, "/livez")[0] == 0
    site.edit(f"port = {new}", 'socket = "state/admin.sock"')
    os.kill(site.serving.pid, signal.SIGHUP)
    path = site.folder / "state" / "admin.sock"
    wait_until(path.exists)
    wait_until(lambda: _over_socket(path).startswith(b"HTTP/1.1 200"))
    assert path.stat().st_mode & 0o777 == 0o660
    site.edit('[admin]\nsocket = "state/admin.sock"', "")
    os.kill(site.serving.pid, signal.SIGHUP)
    wait_until(lambda: not site.children("admin"))
    site.edit("[control]", f"[admin]\nport = {old}\n\n[control]")
    os.kill(site.serving.pid, signal.SIGHUP)
    wait_until(lambda: ask(old, "/readyz")[0] == 200)
    assert site.children("agent") + site.children("gateway") + site.children("control") == others


def _over_socket(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:
            return b""
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
        return client.recv(4096)


def test_a_killed_admin_process_starts_again(site: Installation) -> None:
    (admin,) = site.children("admin")
    os.kill(admin, signal.SIGKILL)
    wait_until(lambda: site.children("admin") not in ([], [admin]))
    wait_until(lambda: ask(site.port + 4, "/livez")[0] == 200)


def test_a_taken_port_stops_no_call(tmp_path: Path) -> None:
    """`status` is degraded and names the process; the log names the port. Then it is free."""
    site = Installation(tmp_path, workers=1)
    try:
        with socket.create_server(("127.0.0.1", site.port + 4)):
            site.start()
            site.run("status", "--wait", "100")
            wait_until(lambda: "admin" in {each["component"] for each in health(site)})
            log = (site.folder / "serve.log").read_text()
            assert f"[admin]: cannot listen on 127.0.0.1 port {site.port + 4}: " in log
        wait_until(lambda: ask(site.port + 4, "/readyz")[0] == 200)
    finally:
        site.end()


def health(site: Installation) -> list[dict[str, Any]]:
    """The components that are not well."""
    found: list[dict[str, Any]] = site.ask("status")["health"]
    return [each for each in found if each["state"] != "ok"]
