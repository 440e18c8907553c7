"""The chart of deploy/helm, rendered by Helm's own engine, and one of its pods run for real.

The pod runs in a container of bubblewrap, with its paths below one folder: the ConfigMap as the
kubelet lays it out, the archive of the Secret, and the volume.
"""

import json
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from container import PLACE, ROOT, Container, why_not
from container_play import mint

import crewgate
from crewgate.cli.commands.init import write_all
from crewgate.config.load import load

CHART = ROOT / "deploy" / "helm" / "crewgate"
SITE = """\
[crew.article]
issuer = "https://orchestrator.crewgate.example"
jwks = "article.jwks.json"
signing_key = "/var/lib/crewgate/gw/crews/article/signing.key"
tools = ["search.*"]
credits_per_branch = "10"

[upstream.tools]
url = "http://127.0.0.1:8453"

[tool."search.web"]
method = "POST"
path = "/search"
upstream = "tools"
price = "0.01"
"""
SERVER = {"url": "postgresql://crewgate@db.example/budgets", "passwordSecret": {"name": "ledger"}}
ONE = {"url": "sqlite:/var/lib/crewgate/gw/state/ledger.db"}
ALL: dict[str, Any] = {
    "identitySecret": "crewgate-identity",
    "ledger": SERVER,
    "config": SITE,
    "files": {"article.jwks.json": '{"keys": []}\n'},
    "secretFiles": "tools",
    "bootstrap": True,
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "agents": [{"namespaceSelector": {"matchLabels": {"crew": "article"}}}],
        "control": [{"podSelector": {}}],
        "monitoring": [{"namespaceSelector": {}}],
    },
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "nodeSelector": {"e": "f"},
    "tolerations": [{"key": "g", "operator": "Exists"}],
    "priorityClassName": "high",
    "persistence": {"storageClass": "fast"},
    "imagePullSecrets": [{"name": "registry"}],
}
Render = Callable[[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def render() -> Render:
    """A function that renders the objects of the chart with these values."""
    helm = pytest.importorskip("helm_python", reason="pip install helm-python-sdk")
    yaml = pytest.importorskip("yaml", reason="pip install kubernetes-validate")

    def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
        with helm.Chart.load(str(CHART)) as chart:
            chart.validate_schema(values)
            files = chart.render(values, name="crewgate", namespace="gateways")
        found = []
        for name, text in files.items():
            if not name.endswith("NOTES.txt"):
                found += [each for each in yaml.safe_load_all(text) if each]
        return found

    return rendered


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def test_helm_and_kubernetes_accept_the_chart(render: Render) -> None:
    """With few values and with all; Helm finds nothing to mend, and Kubernetes no unknown field."""
    helm = pytest.importorskip("helm_python")
    kubernetes = pytest.importorskip("kubernetes_validate")
    report = helm.lint(str(CHART), ALL, strict=True)
    assert not [each for each in report["messages"] if each["severity"] > 1], report
    few = {"identitySecret": "crewgate-identity", "ledger": ONE, "replicas": 1}
    for values in (ALL, few):
        # Prometheus's operator declares the others.
        ours = [each for each in render(values) if "monitoring.coreos" not in each["apiVersion"]]
        kinds = [each["kind"] for each in ours]
        assert sorted(kinds) == [
            "ConfigMap",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "Service",
            "Service",
            "StatefulSet",
        ]
        for each in ours:
            for version in ("1.30", kubernetes.latest_version()):
                kubernetes.validate(each, version, strict=True)
    with helm.Chart.load(str(CHART)) as chart:
        assert chart.metadata["appVersion"] == crewgate.__version__


def test_the_alerts_are_those_of_prometheus(render: Render) -> None:
    """And the job of what Prometheus scrapes has the name that they expect."""
    yaml = pytest.importorskip("yaml")
    objects = render(ALL)
    rules = ROOT / "deploy" / "prometheus" / "crewgate.rules.yml"
    assert one(objects, "PrometheusRule")["spec"] == yaml.safe_load(rules.read_text())
    label = one(objects, "ServiceMonitor")["spec"]["jobLabel"]
    for each in objects:
        if each["kind"] == "Service":
            assert each["metadata"]["labels"][label] == "crewgate"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ledger": ONE}, "a ledger in a file is for one machine"),
        ({"ledger": {"url": "mysql://x"}}, "ledger.url"),
        ({"ledger": {"url": "postgresql://crewgate:secret@db/budgets"}}, "ledger.url"),
        ({"ledger": {"url": "postgresql://db/budgets?password=secret"}}, "ledger.url"),
        ({"identitySecret": ""}, "name the Secret with the archives"),
        ({"sealingKeys": "sealing.keys", "secretFiles": ""}, "set secretFiles"),
        ({"replica": 3}, "additional properties 'replica' not allowed"),
    ],
)
def test_a_wrong_value_is_refused(render: Render, change: dict[str, Any], said: str) -> None:
    """With the name of the value, before anything reaches a cluster."""
    helm = pytest.importorskip("helm_python")
    with pytest.raises(helm.HelmError) as found:
        render(ALL | change)
    assert said in str(found.value).replace("/", ".")


def test_all_pods_seal_with_the_keys_of_one_secret(render: Render) -> None:
    """A task that began at one machine is known at the others."""
    found = one(render(ALL | {"sealingKeys": "sealing.keys"}), "ConfigMap")["data"]
    texts = [text for name, text in found.items() if name.endswith(".toml")]
    assert len(texts) == 3
    for text in texts:
        assert tomllib.loads(text)["sealing_keys"] == "/run/crewgate/secrets/sealing.keys"


def test_no_container_has_a_right_or_a_writable_root(render: Render) -> None:
    """And a pod sees its own archive only."""
    pod = one(render(ALL), "StatefulSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    containers = pod["initContainers"] + pod["containers"]
    assert [each["name"] for each in containers] == ["identity", "tables", "gateway"]
    for each in containers:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    archives = [
        mount
        for each in containers
        for mount in each["volumeMounts"]
        if mount["name"] == "identity"
    ]
    assert [each["subPathExpr"] for each in archives] == ["$(POD_NAME).tar"]


class Pod:
    """The first pod of a rendered chart, whose paths are below one folder."""

    def __init__(self, folder: Path, objects: list[dict[str, Any]]) -> None:
        self.folder = folder
        self._spec = one(objects, "StatefulSet")["spec"]["template"]["spec"]
        for name in ("config", "volume"):
            (folder / name).mkdir()
        self.write(one(objects, "ConfigMap")["data"], 1)
        hosts = folder / "hosts"  # as the kubelet writes it
        hosts.write_text("127.0.0.1 localhost\n10.1.2.3 crewgate-0.crewgate-members crewgate-0\n")
        self.container = Container(folder, mounts={hosts: "/etc/hosts"})
        self.container.config = f"{PLACE}/config/crewgate-0.toml"
        self.container.ca = folder / "volume" / "gw" / "certs" / "ca.pem"

    def write(self, data: dict[str, str], number: int) -> None:
        """Write the files of the ConfigMap, and put them in force in one step."""
        place = self.folder / "config" / f"..{number}"
        place.mkdir()
        for name, text in data.items():
            (place / name).write_text(self._moved(text))
            link = self.folder / "config" / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        draft = self.folder / "config" / "..data_tmp"
        draft.symlink_to(place.name)
        draft.rename(self.folder / "config" / "..data")

    def initialise(self) -> str:
        """Run the first init container; return what it printed."""
        command = [self._moved(each) for each in self._spec["initContainers"][0]["command"]]
        return self.container.run_program(*command)

    @property
    def arguments(self) -> list[str]:
        """The arguments of the gateway."""
        return [self._moved(each) for each in self._spec["containers"][0]["args"]]

    def _moved(self, text: str) -> str:
        for old, new in (
            ("/etc/crewgate", f"{PLACE}/config"),
            ("/var/lib/crewgate", f"{PLACE}/volume"),
            ("/run/crewgate", PLACE),
            ("/opt/crewgate/bin/python", sys.executable),
            ("$(POD_NAME)", "crewgate-0"),
        ):
            text = text.replace(old, new)
        return text


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The folder of the first machine, as the documents have it made."""
    hosts = ("crewgate-0.crewgate-members", "crewgate")
    write_all(tmp_path / "crewgate-0", 8443, "crewgate-0", hosts=hosts)
    return tmp_path / "crewgate-0"


@pytest.fixture
def pod(render: Render, machine: Path, tmp_path: Path) -> Iterator[Pod]:
    if reason := why_not():
        pytest.skip(reason)
    jwks = {"article.jwks.json": (machine / "crews" / "article.jwks.json").read_text()}
    folder = tmp_path / "pod"
    folder.mkdir()
    with tarfile.open(folder / "identity.tar", "w") as archive:
        for name in ("ca", "certs", "crews", "gateway", "state"):
            archive.add(machine / name, name)
    values = ALL | {"replicas": 1, "ledger": ONE, "files": jwks, "secretFiles": ""}
    found = Pod(folder, render(values))
    yield found
    found.container.close()


def test_the_first_pod_starts_from_its_archive_and_follows_the_config_map(
    pod: Pod, render: Render, machine: Path
) -> None:
    """The init container unpacks once; the gateway serves, and loads a changed ConfigMap."""
    assert "unpacked from identity.tar" in pod.initialise()
    assert (pod.folder / "volume/gw/state/gossip/standing").exists()
    assert (pod.folder / "volume/gw/ca").stat().st_mode & 0o777 == 0o700
    assert "nothing to do" in pod.initialise()
    assert pod.arguments == ["serve", "-c", pod.container.config]
    pod.container.start()
    assert pod.container.probe() == 0
    token = mint(pod.container)
    assert pod.container.call(token) == 200
    jwks = {"article.jwks.json": (machine / "crews" / "article.jwks.json").read_text()}
    dearer = SITE.replace('price = "0.01"', 'price = "5"')
    values = ALL | {"replicas": 1, "ledger": ONE, "files": jwks, "secretFiles": ""}
    before = generation(pod)
    pod.write(one(render(values | {"config": dearer}), "ConfigMap")["data"], 2)
    while generation(pod) == before:
        pass
    assert pod.container.call(token) == 403
    assert pod.container.stop() == 0


def generation(pod: Pod) -> int:
    """The number of the configuration in force."""
    shown = pod.container.inside("status", "-c", pod.container.config, "--wait", "60", "--json")
    found: int = json.loads(shown)["policy_generation"]
    return found


def test_every_pod_of_a_cluster_has_a_configuration_of_its_own(
    render: Render, tmp_path: Path
) -> None:
    """Each knows the others by the names of the headless service; the first one has the CA."""
    objects = render(ALL)
    data = one(objects, "ConfigMap")["data"]
    for number in range(3):
        file = tmp_path / f"crewgate-{number}.toml"
        file.write_text(data[file.name])
        config = load(file)
        assert config.name == file.stem
        assert config.cluster is not None
        assert config.ca is not None
        names = [f"crewgate-{other}.crewgate-members" for other in range(3) if other != number]
        assert [each.host for each in config.cluster.peers] == names
        assert config.cluster.reached_at.host == f"crewgate-{number}"
        assert (config.ca.control is None) == (number == 0)
    assert one(objects, "StatefulSet")["spec"]["serviceName"] == "crewgate-members"


def test_a_pod_that_has_lost_its_volume_asks_the_others(machine: Path, tmp_path: Path) -> None:
    """Without --bootstrap, the mark of the first machine of all is not unpacked."""
    archive = tmp_path / "crewgate-0.tar"
    with tarfile.open(archive, "w") as file:
        for name in ("certs", "gateway", "state"):
            file.add(machine / name, name)
    command = [sys.executable, "-I", CHART / "files" / "first_start.py", archive]
    subprocess.run([*command, tmp_path / "gw"], check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "gw" / "gateway" / "signing.key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "gw" / "state" / "gossip" / "standing").exists()
