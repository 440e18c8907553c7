"""The file of deploy/compose, as Docker Compose reads it, and its gateways on three networks.

The gateways run from the folders that `setup` makes. Only the address of PostgreSQL is another.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import postgres
import pytest
from container import ROOT, Container, why_not
from container_play import mint
from network_namespaces import missing, network

FOLDER = ROOT / "deploy" / "compose"
LEDGER = "postgresql://crewgate@postgresql/crewgate"
# PostgreSQL's folder in a container.
SOCKETS = "/media"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the file, as Docker Compose understands them."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("Docker Compose is not installed (apt-get install docker-compose)")
    command = [program, "--file", str(FOLDER / "compose.yaml"), "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_a_gateway_has_one_writable_folder_and_no_right(services: dict[str, Any]) -> None:
    """And time to stop; the keys of each are its own."""
    gateways = [services[f"gw-{number}"] for number in (1, 2, 3)]
    for service in gateways:
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["stop_grace_period"] == "20s"
        assert service["depends_on"]["tables"]["condition"] == "service_completed_successfully"
        assert [each["target"] for each in service["volumes"]] == ["/var/lib/crewgate"]
    sources = {each["source"] for service in gateways for each in service["volumes"]}
    assert sources == {str(FOLDER / "machines" / f"gw-{number}") for number in (1, 2, 3)}


def test_a_failed_setup_leaves_no_keys(tmp_path: Path) -> None:
    """The second run does not stop at the folders of the first."""
    setup = shutil.copy(FOLDER / "setup", tmp_path)
    for _ in range(2):
        done = subprocess.run(
            [setup], env={**os.environ, "CREWGATE": "false"}, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (1, b"")
        assert [each.name for each in tmp_path.iterdir()] == ["setup"]


def test_no_password_and_no_public_port_is_in_the_file(services: dict[str, Any]) -> None:
    """Passwords come from files; the ports are for this host; what is not ours has a version."""
    for name, service in services.items():
        for key, value in (service.get("environment") or {}).items():
            assert "PASSWORD" not in key or value.startswith("/run/secrets/"), (name, key)
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1"
        assert ":" in service["image"] or service["image"] == "crewgate"


def test_every_mounted_file_exists_and_prometheus_takes_its_own(
    services: dict[str, Any], tmp_path: Path
) -> None:
    """The files of the configurations are there, side by side as in the container."""
    for name in ("prometheus", "grafana"):
        files = [each for each in services[name]["volumes"] if each["type"] == "bind"]
        assert files
        for each in files:
            assert Path(each["source"]).is_file()
            assert each["read_only"] is True
            if name == "prometheus":
                shutil.copy(each["source"], tmp_path / Path(each["target"]).name)
    if shutil.which("promtool") is None:
        pytest.skip("Prometheus is not installed (apt-get install prometheus)")
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    targets = re.findall(r"gw-\d:8447", (tmp_path / "prometheus.yml").read_text())
    assert targets == [f"gw-{number}:8447" for number in (1, 2, 3)]


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[list[Container]]:
    if reason := why_not():
        pytest.skip(reason)
    if reason := missing():
        pytest.skip(reason)
    place = tmp_path / "compose"
    shutil.copytree(FOLDER, place, ignore=shutil.ignore_patterns("machines", "secrets"))
    crewgate = Path(sys.executable).with_name("crewgate")
    environment = os.environ | {"CREWGATE": str(crewgate)}
    subprocess.run([place / "setup"], env=environment, check=True, stdout=subprocess.DEVNULL)
    _own(place / "machines")
    with ExitStack() as stack:
        server = postgres.Server(settings=())  # the gateway refuses one without fsync
        stack.callback(server.end)
        server.folder.chmod(0o711)
        database = server.new_database("crewgate")
        url = database.replace(str(server.folder), SOCKETS)
        places = stack.enter_context(network(3))
        hosts = tmp_path / "hosts"
        lines = [f"{each.address} gw-{number}" for number, each in enumerate(places, 1)]
        hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        found = []
        for number, each in enumerate(places, 1):
            folder = place / "machines" / f"gw-{number}"
            file = folder / "crewgate.toml"
            text = file.read_text()
            assert LEDGER in text
            file.write_text(text.replace(LEDGER, url))
            mounts = {hosts: "/etc/hosts", server.folder: SOCKETS}
            found.append(Container(folder, network=each, mounts=mounts))
            stack.callback(found[-1].close)
        yield found


def _own(folder: Path) -> None:
    """Give the files to this process's user, which is the user of the containers here."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, os.getuid(), os.getgid())


def test_three_gateways_know_each_other_by_name(gateways: list[Container]) -> None:
    """One token is good at all of them, and is revoked at all of them."""
    gateways[0].run("ledger", "migrate", "-c", gateways[0].config)
    for each in gateways:
        each.begin()
    for each in gateways:
        each.wait()
    token = mint(gateways[0])
    assert [each.call(token) for each in gateways] == [200, 200, 200]
    # They share one ledger, which has nothing left of 0.03 credits.
    assert gateways[2].call(token) == 403
    other = mint(gateways[0])
    assert gateways[1].call(other) == 200
    branch = json.loads(gateways[1].inside("inspect", "--json", other))["payload"]
    done = gateways[1].inside(
        "revoke", "-c", gateways[1].config, "--until", "all", branch["execution_branch_id"]
    )
    assert "on the disks of 3 of 3 machines" in done
    assert [each.call(other) for each in gateways] == [401, 401, 401]
    assert [each.stop() for each in reversed(gateways)] == [0, 0, 0]
