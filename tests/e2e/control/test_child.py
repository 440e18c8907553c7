"""The control process as a child of `serve`: restarted, replaced, taken along, and told of."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from control_site import ControlSite, control_site, serial_of
from control_world import add_crew
from installation import wait_until
from orchestrators import is_running, running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ControlSite]:
    """A gateway that a test may ruin."""
    with control_site(tmp_path, workers=1, price="0.01") as found:
        yield found


def gone(pid: int) -> bool:
    """Not there, or waiting for its parent alone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_is_started_again_and_calls_go_on_meanwhile(own: ControlSite) -> None:
    """SIGKILL: `status` says it and the gateway stays ready; then there is another one."""
    token = own.run_token()["access_token"]
    first = own.control_pid()
    os.kill(first, signal.SIGSTOP)
    assert own.call(token).status_code == 200
    os.kill(first, signal.SIGKILL)
    assert own.call(token).status_code == 200
    assert own.ask("status")["ready"]
    own.await_control()
    assert own.control_pid() != first
    assert "control was ended by SIGKILL" in own.log()
    assert own.ask("status")["control"] == {
        "configured": True,
        "running": True,
        "api": f"https://127.0.0.1:{own.port + 2}",
    }
    refresh = {"grant_type": "refresh_token", "refresh_token": token}
    with own.api("bd") as api:
        assert api.post("/v1/tokens", data=refresh).status_code == 200


def test_one_that_cannot_start_leaves_the_gateway_ready(own: ControlSite) -> None:
    """The CA's key is gone: calls are judged as before, and `status` says what is missing."""
    key = own.folder / "ca" / "issuing.key"
    away = key.rename(own.folder / "ca" / "elsewhere")
    os.kill(own.control_pid(), signal.SIGKILL)
    wait_until(lambda: "issuing.key" in own.log())
    token = own.run("mint", "--crew", "bd", "--role", "r", "--tools", "search.*", "--credits", "1")
    assert own.call(token.strip()).status_code == 200
    found = json.loads(own.run("status", "--json"))
    assert (found["ready"], found["waiting_for"]) == (True, [])
    assert "control        does not run" in own.run("status") or found["control"]["running"]
    away.rename(key)
    own.await_control()


def test_what_it_cannot_have_is_one_line(own: ControlSite) -> None:
    """Another program at its port: it says so, ends with status 2, and is there when it can be."""
    first = own.control_pid()
    os.kill(first, signal.SIGSTOP)  # so that nobody else takes the place meanwhile
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: gone(first))
        wait_until(lambda: _took(taken, own.port + 2))
        wait_until(lambda: "cannot listen on 127.0.0.1 port" in own.log())
        wait_until(lambda: "control ended with status 2" in own.log())
        assert "Traceback" not in own.log()
    own.await_control()


def _took(sock: socket.socket, port: int) -> bool:
    """Be there first; the next life of the control process may have been faster."""
    try:
        sock.bind(("127.0.0.1", port))
        sock.listen()
    except OSError:
        return False
    return True


def test_a_changed_configuration_wants_another_one(own: ControlSite) -> None:
    """A new crew and another life of certificates; a change that is not its business does not."""
    first = own.control_pid()
    own.edit('price = "0.01"', 'price = "0.02"')
    wait_until(lambda: own.generation() > 1)
    assert own.control_pid() == first
    add_crew(own.folder, "legal")
    text = own.file.read_text()
    crew = text[text.index("[crew.bd]") : text.index("[crew.finance]")].replace("bd", "legal")
    own.file.write_text(text + crew)
    wait_until(lambda: gone(first))
    own.await_control()
    out = own.folder / "legal"
    own.tell("ca", "issue", "--role", "orchestrator", "--crew", "legal", "--name", "l-1",
             "--out", str(out))  # fmt: skip
    with own.api("legal") as api:
        assert api.get("/v1/tree").status_code == 200
    second = own.control_pid()
    own.edit("life_seconds = 14400", "life_seconds = 3600")
    wait_until(lambda: gone(second))
    own.await_control()


def test_one_that_does_not_end_is_killed(own: ControlSite) -> None:
    """Stopped in mid-life when the configuration changes: SIGKILL after a while, then another."""
    first = own.control_pid()
    os.kill(first, signal.SIGSTOP)
    own.edit("life_seconds = 14400", "life_seconds = 3600")
    wait_until(lambda: gone(first), 60)
    own.await_control()
    assert own.control_pid() != first


def test_without_a_ca_there_is_none(own: ControlSite) -> None:
    """The sections are taken out of the file: it ends, and is not started again."""
    text = own.file.read_text()
    begin, middle = text.index("[ca]"), text.index("# The other machines")
    end = text.index("# Agents come here")
    own.stop()  # peers need a CA, and [cluster] stays as long as a machine serves
    own.file.write_text(text[:middle] + text[end:])
    own.serve()
    first = own.control_pid()
    text = text[:begin] + text[end:]
    begin, end = text.index("# Other crews come here"), text.index("# A crew: whose keys")
    own.file.write_text(text[:begin] + text[end:])
    wait_until(lambda: gone(first))
    wait_until(lambda: own.ask("status", "--wait", "30")["control"]["configured"] is False)
    assert own.children("control") == []
    assert own.ask("status")["control"]["running"] is False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_goes_with_its_supervisor(own: ControlSite, how: signal.Signals) -> None:
    """In order, or because the kernel takes it along."""
    pid = own.control_pid()
    assert own.serving is not None
    own.serving.send_signal(how)
    own.serving.wait(30)
    wait_until(lambda: gone(pid))


def test_a_revocation_that_a_kill_interrupted_is_completed(own: ControlSite) -> None:
    """Certificates and tokens: registered, and killed before the agent has heard of it.

    The agent is stopped meanwhile, so that the kill comes between the two for certain.
    """
    token = own.run_token()["access_token"]
    assert own.call(token).status_code == 200
    serial, agent, first = serial_of(own.folder / "bd"), own.children("agent")[0], own.control_pid()
    os.kill(agent, signal.SIGSTOP)
    try:
        with own.api("ada") as ada, pytest.raises(httpx.TimeoutException):
            ada.post("/v1/revocations", json={"orchestrator": "bd/bd-1"}, timeout=1)
        wait_until(lambda: own.ask("ca", "show", serial)["status"] == "revoked")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: gone(first))
        assert list((own.folder / "ca" / "ending").glob("*.json"))
    finally:
        os.kill(agent, signal.SIGCONT)
    wait_until(lambda: own.call(token).status_code == 401)
    wait_until(lambda: not list((own.folder / "ca" / "ending").glob("*.json")))
    other = own.run_token("finance")["access_token"]
    assert own.call(other).status_code == 200


def test_an_orchestrator_that_runs_is_ended_with_its_process(own: ControlSite) -> None:
    """By the API as by `decommission`: its supervisor would renew, and be back."""
    with running(own, "evil", "sleep", "60", life="8s") as orchestrator:
        child = orchestrator.child
        with own.api("ada") as ada:
            ask = {"orchestrator": orchestrator.label}
            assert ada.post("/v1/revocations", json=ask).status_code == 200
        assert orchestrator.wait() == 0, orchestrator.said
        assert not is_running(child)
    rows = [row for row in own.ask("ca", "list", "--all") if row["name"] == "evil"]
    assert {row["status"] for row in rows} == {"revoked"}


def test_its_own_certificate_is_taken_up_without_a_break(own: ControlSite) -> None:
    """Another certificate in the same files: new connections see it, the process is the same."""
    pid = own.control_pid()
    with own.api("ada") as before:
        assert before.get("/healthz").status_code == 200
        out = own.folder / "new"
        own.tell("ca", "issue", "--role", "gateway", "--name", "edge-9", "--host", "localhost",
                 "--host", "127.0.0.1", "--out", str(out))  # fmt: skip
        for ending, place in (("key", "gateway/gateway.key"), ("pem", "certs/gateway.pem")):
            Path(f"{out}.{ending}").replace(own.folder / place)

        def shown() -> int:
            # No request: httpx takes a connection for torn that is drained when it asks first.
            plain = socket.create_connection(("127.0.0.1", own.port + 2), 20)
            with own.context("ada").wrap_socket(plain, server_hostname="localhost") as seen:
                found = seen.getpeercert()
            assert found is not None
            return int(str(found["serialNumber"]), 16)

        serial = int(serial_of(own.folder / "certs" / "gateway"), 16)
        wait_until(lambda: shown() == serial)
    assert own.control_pid() == pid


def test_a_file_of_ours_in_mid_edit_keeps_nobody_in(own: ControlSite) -> None:
    """The server's certificate is unreadable: whoever is revoked is closed all the same."""
    certificate = own.folder / "certs" / "gateway.pem"
    good = certificate.read_bytes()
    plain = socket.create_connection(("127.0.0.1", own.port + 2), 20)
    with own.context("bd").wrap_socket(plain, server_hostname="localhost") as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert idle.recv(65_536).startswith(b"HTTP/1.1 200 ")
        certificate.write_bytes(b"half a certif")
        wait_until(lambda: "the certificate and list before stay" in own.log())
        own.tell("ca", "revoke", serial_of(own.folder / "bd"))
        assert idle.recv(65_536) == b""
    certificate.write_bytes(good)
    own.await_control()
    assert own.tell("tree", who="bd", check=False).returncode == 2
