import json
import os
import socket
import stat
from pathlib import Path

import pytest
from cli_runner import Run
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.ca.member_signing_key import public_half
from crewgate.cli import main
from crewgate.cli.commands.init import write_all
from crewgate.cli.init.machine_keys import choose_name, host_name
from crewgate.config import load
from crewgate.config.values import NAME
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role, check
from crewgate.issuer.signing import SigningKey
from crewgate.policy.loader import load_keys, load_policy
from crewgate.server.tls import server_context


def test_what_init_writes_is_the_documented_set_up(fresh: Path) -> None:
    """Two workers, two listeners, the crew article, three tools at 0.01 on the port ten above."""
    config = load(fresh)
    assert config.workers == 2
    assert [
        (item.address, item.port, item.mode, item.client_certificate) for item in config.listeners
    ] == [("127.0.0.1", 9000, "enforce", "none"), ("127.0.0.1", 9001, "enforce", "required")]
    assert [(crew.name, crew.credits_per_branch) for crew in config.crews] == [
        ("article", 1_000_000_000)
    ]
    assert [(tool.name, tool.method, tool.path, tool.price) for tool in config.tools] == [
        ("search.web", "POST", "/search", 10_000),
        ("embeddings.create", "POST", "/v1/embeddings", 10_000),
        ("publish.post", "POST", "/publish", 10_000),
    ]
    origins = {upstream.name: upstream.origin.authority for upstream in config.upstreams}
    assert {origins[tool.upstream] for tool in config.tools} == {"127.0.0.1:9010"}
    assert (config.state, config.audit.folder) == (
        fresh.parent / "state",
        fresh.parent / "state" / "audit",
    )


def test_audience_and_issuer_do_not_depend_on_the_port(tmp_path: Path, run: Run) -> None:
    """Tokens of one set-up are not made invalid by moving it to another port."""
    texts = []
    for port in (1, 65_525):
        assert run("init", tmp_path / str(port), "--port", port).exit_code == 0
        config = load(tmp_path / str(port) / "crewgate.toml")
        texts.append((config.audience, config.crews[0].issuer))
    assert texts[0] == texts[1]


def test_every_secret_is_its_owners_alone_and_apart(fresh: Path) -> None:
    """CA, gateway and crew have private folders and keys; nothing else holds a private key."""
    keys = {path.relative_to(fresh.parent) for path in fresh.parent.rglob("*.key")}
    assert keys == {
        Path("ca/root.key"),
        Path("ca/issuing.key"),
        Path("gateway/gateway.key"),
        Path("gateway/machine.key"),
        Path("gateway/signing.key"),
        Path("crews/article/signing.key"),
    }
    for key in keys:
        path = fresh.parent / key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for path in fresh.parent.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            assert b"PRIVATE KEY" not in path.read_bytes()


def test_nobody_else_may_write_what_init_made(tmp_path: Path) -> None:
    """A careless umask opens nothing: neither the folder nor a file in it."""
    before = os.umask(0)
    try:
        write_all(tmp_path / "fresh", 9000)
    finally:
        os.umask(before)
    for path in (tmp_path / "fresh", *(tmp_path / "fresh").rglob("*")):
        assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), path


def test_the_certificates_and_keys_belong_together(fresh: Path) -> None:
    """The server shows leaf and issuing CA, ca.pem is the root alone, the crew's key is known."""
    config = load(fresh)
    server_context(config.listeners[0].certificate, config.listeners[0].key)
    leaf, issuing = x509.load_pem_x509_certificates(config.listeners[0].certificate.read_bytes())
    (root,) = x509.load_pem_x509_certificates((fresh.parent / "certs/ca.pem").read_bytes())
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1", "::1"]
    # Go's crypto/x509 cannot read an arc of 128 bits: what clients are shown has no such extension.
    assert read(leaf.public_bytes(Encoding.DER)).identity is None
    crew = config.crews[0]
    assert crew.signing_key
    key = SigningKey.load(crew.signing_key, load_keys(config), str(crew.jwks))
    assert [known.kid for known in load_policy(config, 1).keys] == [key.kid]


def test_a_machine_can_be_joined_and_revoke(fresh: Path) -> None:
    """Nobody is joined yet; the certificate has the signing key, the right and a year."""
    config = load(fresh)
    cluster = config.cluster
    assert cluster is not None
    assert (str(cluster.reached_at), cluster.peers) == ("127.0.0.1:9003", ())
    assert (cluster.staleness_quorum, cluster.max_staleness_seconds) == ("majority", 5.0)
    server_context(cluster.certificate, cluster.key)
    leaf = x509.load_pem_x509_certificates(cluster.certificate.read_bytes())[0]
    identity = read(leaf.public_bytes(Encoding.DER)).speaks_for()
    assert (identity.role, identity.rights) == (Role.GATEWAY, (MAY_REVOKE,))
    assert identity.key == public_half(cluster.signing_key)
    assert identity.name == host_name(socket.gethostname()) == config.name
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == limits.ca_server_days


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Web_1.example.com", "web-1"),
        ("", "gateway"),
        ("-.x", "gateway"),
        ("münchen", "m-nchen"),
        ("h" * 64, "h" * 40),
        ("h" * 39 + "_x", "h" * 39),
    ],
)
def test_a_machine_is_called_as_its_host(
    monkeypatch: pytest.MonkeyPatch, host: str, name: str
) -> None:
    """A second one of that host has another name; each is what a certificate may say."""
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert choose_name("", ()) == name
    other = choose_name("", {name})
    assert other.startswith(f"{name}-")
    for each in (name, other):
        check(Identity(Role.GATEWAY, each, bytes(16)))
        assert NAME.read(each) == each


def test_a_machine_has_the_name_that_was_asked_for(tmp_path: Path) -> None:
    """In its configuration and its certificate; one that is taken, or none at all, is refused."""
    file = tmp_path / "gw" / "crewgate.toml"
    done = CliRunner().invoke(main, ["init", str(file.parent), "--name", "west-1"])
    assert done.exit_code == 0, done.output
    config = load(file)
    assert config.name == "west-1"
    assert config.cluster is not None
    leaf = x509.load_pem_x509_certificates(config.cluster.certificate.read_bytes())[0]
    assert read(leaf.public_bytes(Encoding.DER)).speaks_for().name == "west-1"
    further = ["init", str(tmp_path / "two"), "--port", "9443", "--from", str(file)]
    further += ["--budgets", "per-machine"]
    taken = CliRunner().invoke(main, [*further, "--name", "west-1"])
    assert (taken.exit_code, "a machine of this trust domain has this name" in taken.stderr) == (
        2,
        True,
    )
    assert not (tmp_path / "two").exists()
    bad = CliRunner().invoke(main, [*further, "--name", "No Name"])
    assert (bad.exit_code, "expected a name" in bad.stderr) == (2, True)
    assert CliRunner().invoke(main, [*further, "--name", "east-1"]).exit_code == 0
    assert load(tmp_path / "two" / "crewgate.toml").name == "east-1"


def test_an_empty_folder_will_do_and_a_full_one_is_left_alone(tmp_path: Path, run: Run) -> None:
    """Init overwrites nothing, so a second run is refused and changes nothing."""
    assert run("init", tmp_path / "x").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*")}
    result = run("init", tmp_path / "x")
    assert result.exit_code == 2
    assert "not empty, and init overwrites nothing" in result.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*")}
    (tmp_path / "empty").mkdir()
    assert run("init", tmp_path / "empty").exit_code == 0


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, run: Run) -> None:
    """What is not a folder is said to be none."""
    (tmp_path / "file").write_text("")
    result = run("init", tmp_path / "file")
    assert result.exit_code == 2
    assert "not a folder" in result.stderr


@pytest.mark.parametrize("port", [0, 65_526])
def test_a_port_without_room_above_it_is_refused(tmp_path: Path, run: Run, port: int) -> None:
    """The tools' server is ten ports above, which must exist."""
    assert run("init", tmp_path / "x", "--port", port).exit_code == 2


def test_json_names_what_a_script_goes_on_with(tmp_path: Path, run: Run) -> None:
    """One document with the configuration and the root to trust."""
    document = json.loads(run("init", tmp_path / "x", "--json").stdout)
    assert document == {
        "config": str(tmp_path / "x" / "crewgate.toml"),
        "ca": str(tmp_path / "x" / "certs" / "ca.pem"),
    }
