"""The control process as a child of `serve`: restarted, replaced, taken along, and told of."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from control_site import ControlSite, control_site, serial_of
from control_world import add_crew
from identity_provider_world import jwks
from installation import wait_until
from orchestrators import is_running, running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ControlSite]:
    """A gateway that a test may ruin."""
    with control_site(tmp_path, workers=1, price="0.01") as found:
        yield found


def test_it_is_started_again_and_calls_go_on_meanwhile(site: ControlSite) -> None:
    """SIGKILL: `status` says it and the gateway stays ready; then there is another one."""
    begin = len(site.log())
    token = site.run_token()["access_token"]
    first = site.control_pid()
    os.kill(first, signal.SIGSTOP)
    assert site.call(token).status_code == 200
    os.kill(first, signal.SIGKILL)
    assert site.call(token).status_code == 200
    assert site.ask("status")["ready"]
    site.await_control()
    assert site.control_pid() != first
    assert "control was ended by SIGKILL" in site.log()[begin:]
    assert site.ask("status")["control"] == {
        "configured": True,
        "running": True,
        "api": f"https://127.0.0.1:{site.port + 2}",
        "has_key": True,
    }
    refresh = {"grant_type": "refresh_token", "refresh_token": token}
    with site.api("bd") as api:
        assert api.post("/v1/tokens", data=refresh).status_code == 200


def test_without_the_key_it_stays_and_takes_the_key_up(site: ControlSite) -> None:
    """It says once what it does not do, and is not restarted; calls are judged as before."""
    begin = len(site.log())
    key = site.folder / "ca" / "issuing.key"
    away = key.rename(site.folder / "ca" / "elsewhere")
    os.kill(site.control_pid(), signal.SIGKILL)
    wait_until(lambda: "no key of the CA" in site.log()[begin:])
    (pid,) = site.children("control")
    token = site.run("mint", "--crew", "bd", "--role", "r", "--tools", "search.*", "--credits", "1")
    assert site.call(token.strip()).status_code == 200
    found = json.loads(site.run("status", "--json"))
    assert (found["ready"], found["waiting_for"]) == (True, [])
    assert "control        without the CA's key" in site.run("status")
    away.rename(key)
    site.await_control()
    assert site.children("control") == [pid]
    assert site.log()[begin:].count("no key of the CA") == 1
    assert "control ended" not in site.log()[begin:]


def test_what_it_cannot_have_is_one_line(own: ControlSite) -> None:
    """Another program at its port: it says so, ends with status 2, and is there when it can be."""
    first = own.control_pid()
    os.kill(first, signal.SIGSTOP)  # so that nobody else takes the place meanwhile
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not is_running(first))
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


def _add_crew(own: ControlSite, crew: str) -> None:
    """As an operator does, whose file is changed in one step."""
    add_crew(own.folder, crew)
    text = own.file.read_text()
    more = text[text.index("[crew.bd]") : text.index("[crew.finance]")].replace("bd", crew)
    draft = own.file.with_suffix(".draft")
    draft.write_text(text + more)
    draft.rename(own.file)


def test_a_changed_configuration_is_taken_up_in_place(own: ControlSite) -> None:
    """A new crew, another life of certificates, another port; the process is the same."""
    pid = own.control_pid()
    _add_crew(own, "legal")
    out = own.folder / "legal"
    ask = ("ca", "issue", "--role", "orchestrator", "--crew", "legal", "--name", "l-1",
           "--out", str(out))  # fmt: skip
    wait_until(lambda: own.tell(*ask, check=False).returncode == 0)
    with own.api("legal") as api:
        assert api.get("/v1/tree").status_code == 200
    own.edit("life_seconds = 14400", "life_seconds = 3600")
    wait_until(lambda: own.log().count("the new configuration is active") == 2)
    assert _life_seconds(own, "eve") == 3600
    own.edit(f"port = {own.port + 2}", f"port = {own.port + 6}")
    own.control = f"https://localhost:{own.port + 6}"
    own.await_control()
    assert own.children("control") == [pid]
    with own.api("bd") as api:
        assert api.get("/v1/tree").status_code == 200
    with own.file.open("a") as file:
        file.write(
            '[identity_provider.corp]\nissuer = "https://id.example"\naudience = ["app"]\n'
            'jwks = "corp.jwks.json"\n'
        )
    component = "control: identity provider corp"
    why = "corp.jwks.json: the keys cannot be read"
    wait_until(lambda: why in _troubles(own).get(component, ""))
    assert own.ask("status", "--wait", "100")["ready"]
    (own.folder / "corp.jwks.json").write_bytes(jwks())
    wait_until(lambda: component not in _troubles(own))


def _troubles(own: ControlSite) -> dict[str, str]:
    """The components that are not well, and why."""
    found = own.ask("status", "--wait", "100")["health"]
    return {each["component"]: each["why"] for each in found if each["state"] != "ok"}


def _life_seconds(own: ControlSite, name: str) -> float:
    """Of a certificate that the control process issues now."""
    own.tell("ca", "issue", "--role", "operator", "--name", name, "--out", str(own.folder / name))
    (row,) = [each for each in own.ask("ca", "list") if each["name"] == name]
    begin, end = (datetime.fromisoformat(row[key]) for key in ("issued", "not_after"))
    return (end - begin).total_seconds()


def test_what_no_other_process_takes_up_it_does_not_either(own: ControlSite) -> None:
    """While a file of keys is missing, it issues by the configuration in force.

    When that file is there, all of them take the new one up, though the configuration's file is
    the same.
    """
    keys = own.folder / "crews" / "bd.jwks.json"
    text = own.file.read_text().replace("crews/bd.jwks", "crews/new.jwks")
    draft = own.file.with_suffix(".draft")
    draft.write_text(text.replace("life_seconds = 14400", "life_seconds = 3600"))
    draft.rename(own.file)
    wait_until(lambda: "WARNING agent: keeping the active configuration: " in own.log())
    assert _life_seconds(own, "eve") == 14400
    assert "the new configuration is active" not in own.log()
    (own.folder / "crews" / "new.jwks.json").write_bytes(keys.read_bytes())
    wait_until(lambda: "the new configuration is active" in own.log())
    assert _life_seconds(own, "mallory") == 3600


def test_a_reload_refuses_no_connection_with_a_certificate(own: ControlSite) -> None:
    """New ones all the time while a crew is added: at the API, and where OCSP decides of each."""
    token = own.run_token()["access_token"]
    outcomes: list[object] = []
    is_over = threading.Event()

    def knock(port: int) -> None:
        context = own.context("bd")
        head = f"host: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: 2\r\n\r\n{{}}"
        while not is_over.is_set():
            try:
                plain = socket.create_connection(("127.0.0.1", port), 20)
                with context.wrap_socket(plain, server_hostname="localhost") as stream:
                    stream.sendall(f"POST /search HTTP/1.1\r\n{head}".encode())
                    outcomes.append(stream.recv(65_536)[:12])
            except OSError as error:
                outcomes.append(error)

    with ThreadPoolExecutor() as pool:
        for port in (own.port + 1, own.port + 2):
            pool.submit(knock, port)
        try:
            generation = own.generation()
            _add_crew(own, "legal")
            wait_until(lambda: own.generation() > generation)
            wait_until(lambda: "the new configuration is active" in own.log())
            seen = len(outcomes)
            wait_until(lambda: len(outcomes) > seen + 50)
        finally:
            is_over.set()
    assert set(outcomes) == {b"HTTP/1.1 200", b"HTTP/1.1 404"}  # a tool's, and the API's


def test_one_that_does_not_end_is_killed(own: ControlSite) -> None:
    """Stopped in mid-life when its section is taken out: SIGKILL after a while."""
    without = _without_a_ca(own)
    first = own.control_pid()
    os.kill(first, signal.SIGSTOP)
    own.file.write_text(without)
    wait_until(lambda: not is_running(first), 60)
    assert own.children("control") == []


def _without_a_ca(own: ControlSite) -> str:
    """Serve without [cluster], which needs a CA; the file's text without [ca] and [control]."""
    text = own.file.read_text()
    begin, middle = text.index("[ca]"), text.index("# The other machines")
    end = text.index("# The listener for agents")
    own.stop()  # [cluster] stays as long as a machine serves
    own.file.write_text(text[:middle] + text[end:])
    own.serve()
    text = text[:begin] + text[end:]
    begin, end = text.index("# The listener for other crews"), text.index("# A crew: its keys")
    return text[:begin] + text[end:]


def test_without_a_ca_there_is_none(own: ControlSite) -> None:
    """The sections are taken out of the file: it ends, and is not started again."""
    without = _without_a_ca(own)
    first = own.control_pid()
    own.file.write_text(without)
    wait_until(lambda: not is_running(first))
    wait_until(lambda: own.ask("status", "--wait", "100")["control"]["configured"] is False)
    assert own.children("control") == []
    assert own.ask("status")["control"]["running"] is False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_goes_with_its_supervisor(own: ControlSite, how: signal.Signals) -> None:
    """In order, or because the kernel takes it along."""
    pid = own.control_pid()
    assert own.serving is not None
    own.serving.send_signal(how)
    own.serving.wait(30)
    wait_until(lambda: not is_running(pid))


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
        wait_until(lambda: not is_running(first))
        assert list((own.folder / "ca" / "ending").glob("*.json"))
    finally:
        os.kill(agent, signal.SIGCONT)
    wait_until(lambda: own.call(token).status_code == 401)
    wait_until(lambda: not list((own.folder / "ca" / "ending").glob("*.json")))
    other = own.run_token("finance")["access_token"]
    assert own.call(other).status_code == 200


def test_an_orchestrator_that_runs_is_ended_with_its_process(site: ControlSite) -> None:
    """By the API as by `decommission`: its supervisor would renew, and be back."""
    with running(site, "evil", "sleep", "60", life="8s") as orchestrator:
        child = orchestrator.child
        with site.api("ada") as ada:
            ask = {"orchestrator": orchestrator.label}
            assert ada.post("/v1/revocations", json=ask).status_code == 200
        assert orchestrator.wait() == 0, orchestrator.said
        assert not is_running(child)
    rows = [row for row in site.ask("ca", "list", "--all") if row["name"] == "evil"]
    assert {row["status"] for row in rows} == {"revoked"}


def test_its_own_certificate_is_taken_up_without_a_break(site: ControlSite) -> None:
    """Another certificate in the same files: new connections see it, the process is the same."""
    pid = site.control_pid()
    with site.api("ada") as before:
        assert before.get("/healthz").status_code == 200
        out = site.folder / "new"
        site.tell("ca", "issue", "--role", "gateway", "--name", "edge-9", "--host", "localhost",
                 "--host", "127.0.0.1", "--out", str(out))  # fmt: skip
        for ending, place in (("key", "gateway/gateway.key"), ("pem", "certs/gateway.pem")):
            Path(f"{out}.{ending}").replace(site.folder / place)

        def shown() -> int:
            # No request: httpx takes a connection for torn that is drained when it asks first.
            plain = socket.create_connection(("127.0.0.1", site.port + 2), 20)
            with site.context("ada").wrap_socket(plain, server_hostname="localhost") as seen:
                found = seen.getpeercert()
            assert found is not None
            return int(str(found["serialNumber"]), 16)

        serial = int(serial_of(site.folder / "certs" / "gateway"), 16)
        wait_until(lambda: shown() == serial)
    assert site.control_pid() == pid


def test_a_file_of_ours_in_mid_edit_keeps_nobody_in(own: ControlSite) -> None:
    """The server's certificate is unreadable: whoever is revoked is closed all the same."""
    certificate = own.folder / "certs" / "gateway.pem"
    good = certificate.read_bytes()
    plain = socket.create_connection(("127.0.0.1", own.port + 2), 20)
    with own.context("bd").wrap_socket(plain, server_hostname="localhost") as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert idle.recv(65_536).startswith(b"HTTP/1.1 200 ")
        certificate.write_bytes(b"half a certif")
        wait_until(lambda: "keeping the previous certificate and CRL" in own.log())
        own.tell("ca", "revoke", serial_of(own.folder / "bd"))
        assert idle.recv(65_536) == b""
    certificate.write_bytes(good)
    own.await_control()
    assert own.tell("tree", who="bd", check=False).returncode == 2
