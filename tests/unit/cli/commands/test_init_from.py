"""`crewgate init --from`: a further machine with the first one's domain and places of its own."""

import difflib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from crewgate.cli import main
from crewgate.cli.commands.init import write_all
from crewgate.cli.init.cluster_section import ANY
from crewgate.config import Config, HostPort
from crewgate.config.load import load

URL = "postgresql://crewgate@db.example/budgets"
MORE = """
[upstream.far]
url = "https://search.example:8443"
credential = { header = "authorization", file = "secrets/far" }

[upstream.many]
endpoints = ["http://127.0.0.1:9101", "http://10.0.0.2:9101"]

# The server at port 8454 is everybody's.
[upstream.llm]
url = "http://127.0.0.1:8454"

[upstream.same]
url = "http://127.0.0.1:8453"

[export.collector]
format = "otlp"
url = "https://otel.example"
credential = { header = "authorization", file = "secrets/collector" }
"""


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A machine at 8443, with upstreams here and elsewhere."""
    file = write_all(tmp_path / "first", 8443)
    file.write_text(f'sealing_keys = "secrets/sealing"\n{file.read_text()}{MORE}')
    return file


def init(folder: Path, first: Path, *more: str) -> Result:
    """The command as typed."""
    arguments = ["init", str(folder), "--port", "9443", "--from", str(first), *more]
    return CliRunner().invoke(main, arguments)


def test_it_has_the_same_domain_and_its_own_places(first: Path, tmp_path: Path) -> None:
    """CA, audience, crews, ceilings and tools are the first one's; ports, state, key its own."""
    result = init(tmp_path / "second", first, "--ledger", URL)
    assert (result.exit_code, result.stdout) == (0, "")
    one, two = load(first), load(tmp_path / "second" / "crewgate.toml")
    assert one.ca is not None
    assert two.ca is not None
    for name in ("folder", "root", "crl", "trust_domain", "life_seconds"):
        assert getattr(two.ca, name) == getattr(one.ca, name)
    assert (two.audience, two.tools) == (one.audience, one.tools)
    assert [each.port for each in two.listeners] == [9443, 9444]
    assert two.control is not None
    assert two.control.port == 9445
    assert two.state == tmp_path / "second" / "state"
    assert two.ledger.url == URL
    for mine, theirs in zip(two.crews, one.crews, strict=True):
        assert mine.jwks.read_bytes() == theirs.jwks.read_bytes()
        assert mine.jwks != theirs.jwks
        assert mine.signing_key is not None
        assert stat.S_IMODE(mine.signing_key.stat().st_mode) == 0o600
    urls = [[origin.port for origin in each.endpoints] for each in two.upstreams]
    assert urls == [[9453], [8443], [9101, 9101], [8454], [8453]]
    credential = two.upstreams[1].credential
    assert credential is not None
    assert credential.file == first.parent / "secrets" / "far"
    assert two.sealing_keys == first.parent / "secrets" / "sealing"
    receiver = two.exports[0].credential
    assert receiver is not None
    assert receiver.file == first.parent / "secrets" / "collector"
    text = two.path.read_text()
    assert "# UDP and mutual TLS on port 9446." in text
    assert "# The server at port 8454 is everybody's" in text
    assert "# The internal CA. Only the control process reads its folder" in text


def test_its_probes_have_a_socket_of_their_own(first: Path, tmp_path: Path) -> None:
    """Even if the first one's is outside its folder, where both would listen."""
    text, port = first.read_text(), "[admin]\nport = 8447\n"
    assert port in text
    first.write_text(text.replace(port, f'[admin]\nsocket = "{tmp_path}/probes.sock"\n'))
    assert init(tmp_path / "second", first, "--ledger", URL).exit_code == 0
    two = load(tmp_path / "second" / "crewgate.toml")
    assert two.admin is not None
    assert (two.admin.port, two.admin.socket) == (None, two.state / "admin.sock")


def test_its_certificate_is_the_first_one_s_authority_s(first: Path, tmp_path: Path) -> None:
    """A client that trusts the root trusts both machines; their keys are two."""
    assert init(tmp_path / "second", first, "--ledger", URL).exit_code == 0
    chain = tmp_path / "second" / "certs" / "machine.pem"
    root = chain.with_name("ca.pem")
    assert root.read_bytes() == (first.parent / "certs" / "ca.pem").read_bytes()
    command = ["openssl", "verify", "-CAfile", str(root), "-untrusted", str(chain), str(chain)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    keys = [each.parent / "gateway" / "gateway.key" for each in (first, chain.parent)]
    assert keys[0].read_bytes() != keys[1].read_bytes()


def test_budgets_are_not_multiplied_unasked(first: Path, tmp_path: Path) -> None:
    """A ledger in a file is one machine's: refused with the reason, and nothing is written."""
    result = init(tmp_path / "second", first)
    assert result.exit_code == 2
    assert "could spend its credits on each machine" in result.stderr
    assert not (tmp_path / "second").exists()
    assert init(tmp_path / "second", first, "--budgets", "per-machine").exit_code == 0
    ledger = load(tmp_path / "second" / "crewgate.toml").ledger
    assert (ledger.engine, ledger.per_machine) == ("sqlite", True)
    assert str(ledger).endswith("second/state/ledger.db, for this machine alone")


def test_a_server_that_the_first_one_names_is_taken(first: Path, tmp_path: Path) -> None:
    """With its password file, wherever that is."""
    theirs = f'url = "{URL}"\npassword_file = "secrets/db"\ndurability = "synchronous"\n'
    text = first.read_text().replace('url = "sqlite:state/ledger.db"', theirs)
    first.write_text(text)
    result = init(tmp_path / "second", first)
    assert result.exit_code == 0
    assert load(tmp_path / "second" / "crewgate.toml").ledger == load(first).ledger
    assert "ledger accept" not in result.stderr  # it goes on with the ledger that it has


def test_comments_and_order_stay(first: Path, tmp_path: Path) -> None:
    """A line says something else, or is new; none moves, and a changed one keeps its comment."""
    first.write_text(first.read_text().replace("peers = []\n", "peers = []  # Anna knows\n"))
    assert init(tmp_path / "second", first, "--ledger", URL, "--name", "two").exit_code == 0
    before = first.read_text().splitlines()
    after = (tmp_path / "second" / "crewgate.toml").read_text().splitlines()
    for comment in ("# Anna knows", "# Place of all budgets: a file, or a server for many"):
        assert [line for line in after if comment in line]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    changes = [each for each in matcher.get_opcodes() if each[0] != "equal"]
    added = [line for _, _, _, start, end in changes for line in after[start:end]]
    keys = [line.split(" = ")[0] for line in added if not line.startswith("#")]
    assert keys == [
        "sealing_keys", "name", "url", "folder", "root", "crl", "port", "staleness_quorum", "peers",
        "port", "port", "port", "port", "url", "credential", "credential",
    ]  # fmt: skip
    gone = [line for _, start, end, _, _ in changes for line in before[start:end]]
    comments = [line.split()[1] for line in gone if line.startswith("#")]
    assert comments == ["UDP", "To", "staleness_quorum"]  # its port is another; its quorum is


ODD = """\
ledger.url = 'sqlite:state/ledger.db'
ledger.per_machine = true
cluster = { peers = ["10.0.0.2:1"], address = "127.0.0.1", port = 8446, \
certificate = 'certs/machine.pem', key = 'gateway/machine.key', \
signing_key = 'gateway/signing.key' }
"""
OUT_OF_ORDER = """
[upstream.far]
url = 'https://search.example:8443'
credential = { header = "authorization", file = 'secrets/far' }

[crew.other]
issuer = "https://other.example"
jwks = 'crews/other.jwks.json'
tools = ["search.*"]
credits_per_branch = "1"

[upstream.far.tls]
ca = 'certs/far.pem'
"""


def test_however_the_file_is_written(first: Path, tmp_path: Path) -> None:
    """Dotted keys, inline tables, other quotes, and sections that are split are read like all."""
    text = first.read_text().replace(MORE, OUT_OF_ORDER)
    for section, following in (
        ("[ledger]", "# The internal CA"),
        ("[cluster]", "# The listener for agents"),
    ):
        text = text[: text.index(section)] + text[text.index(following) :]
    first.write_text(ODD + text)
    keys = first.parent / "crews" / "article.jwks.json"
    keys.with_name("other.jwks.json").write_bytes(keys.read_bytes())
    result = init(tmp_path / "second", first, "--budgets", "per-machine")
    assert result.exit_code == 0, result.output
    one, two = load(first), load(tmp_path / "second" / "crewgate.toml")
    assert two.cluster is not None
    assert two.cluster.peers == (HostPort("127.0.0.1", 8446), HostPort("10.0.0.2", 1))
    assert two.cluster.port == 9446
    assert two.cluster.key == two.path.parent / "gateway" / "machine.key"
    assert (two.ledger.file, two.ledger.per_machine) == (two.state / "ledger.db", True)
    far = [[each for each in read.upstreams if each.name == "far"] for read in (one, two)]
    assert far[0] == far[1] != []
    assert [crew.jwks.read_bytes() for crew in two.crews] == [
        crew.jwks.read_bytes() for crew in one.crews
    ]
    assert all(crew.jwks.is_relative_to(two.path.parent) for crew in two.crews)


@pytest.mark.parametrize("given", [("--ledger", URL), ("--budgets", "per-machine")])
@pytest.mark.parametrize(
    "away",
    [
        'on_unavailable = "bounded"\noverdraft_credits = "50.000001"',
        'on_unavailable = "open"',
        'on_unavailable = "closed"',
    ],
)
def test_what_may_be_spent_without_a_ledger_is_kept(
    first: Path, tmp_path: Path, given: tuple[str, ...], away: str
) -> None:
    """Whichever ledger the further machine has."""
    first.write_text(first.read_text().replace("[ledger]\n", f"[ledger]\n{away}\n"))
    assert init(tmp_path / "second", first, *given).exit_code == 0
    lent = load(tmp_path / "second" / "crewgate.toml").ledger.overdraft_micro_max
    assert lent == load(first).ledger.overdraft_micro_max


def test_only_the_example_s_tool_server_is_another(first: Path, tmp_path: Path) -> None:
    """Not once somebody has put their own there."""
    first.write_text(first.read_text().replace("http://127.0.0.1:8453", "http://127.0.0.1:8500"))
    result = init(tmp_path / "second", first, "--ledger", URL)
    assert "the tools' server" not in result.stderr
    second = load(tmp_path / "second" / "crewgate.toml")
    ports = {upstream.name: upstream.origin.port for upstream in second.upstreams}
    assert ports["tools"] == 8500


def test_what_was_changed_and_what_comes_next_is_told(first: Path, tmp_path: Path) -> None:
    """Of a server the tables come first; the first machine keeps budgets there and joins back."""
    result = init(tmp_path / "second", first, "--ledger", URL)
    file, old = tmp_path / "second" / "crewgate.toml", load(first).ledger
    accept = f"  crewgate ledger accept -c {first}      # if it has served before: "
    assert result.stderr.splitlines() == [
        f"Wrote {file}, derived from {first}:",
        "  port 8445 is 9445",
        "  port 8446 is 9446",
        "  port 8447 is 9447",
        "  port 8443 is 9443",
        "  port 8444 is 9444",
        "  the tools' server 127.0.0.1:8453 is 9453",
        "  every other upstream stays where it is; state, certificate and keys are its own",
        f"  crews' keys are copied; the CA and upstreams' secrets are read in {first.parent}",
        f"  budgets are in {URL}",
        "Next:",
        f"  end the gateway of {first}, and give it the same [ledger] url",
        f'  write peers = ["127.0.0.1:9446"] and {ANY} into [cluster] of {first}',
        f"  crewgate ledger migrate -c {file}      # once, if it has no tables yet",
        f"{accept}what was spent in {old} can be spent again",
        f"  start the gateway of {first} again",
        f"  crewgate check -c {file}",
        f"  crewgate serve -c {file}",
    ]


def test_a_file_of_its_own_needs_no_tables(first: Path, tmp_path: Path) -> None:
    """But the first machine is to say too that budgets count on each."""
    result = init(tmp_path / "second", first, "--budgets", "per-machine")
    assert "for this machine alone" in result.stderr
    assert f"write per_machine = true into [ledger] of {first}, and start its" in result.stderr
    assert "migrate" not in result.stderr
    assert "the same [ledger] url" not in result.stderr
    assert "ledger accept" not in result.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--ledger", "sqlite:shared.db"), "machines cannot share a file"),
        (
            ("--ledger", URL, "--budgets", "per-machine"),
            "expected --ledger or --budgets per-machine, and not both",
        ),
        (("--ledger", "postgresql://no where"), "expected postgresql://USER@HOST"),
        (("--ledger", "postgresql://u:s3cr%t@h/db"), "without a password"),
    ],
)
def test_what_cannot_be_shared_is_one_line(
    first: Path, tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    """Status 2, and what to give instead."""
    result = init(tmp_path / "second", first, *more)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--budgets", "per-machine"), "--budgets is only for --from"),
        (("--password-file", "secret"), "--password-file goes only with --ledger"),
        (("--peer", "10.0.0.2"), 'expected "HOST:PORT"'),
        (("--host", "gw one"), "expected a DNS name or an IP address"),
        (("--ledger", "sqlite:shared.db"), "machines cannot share a file"),
    ],
)
def test_a_first_machine_takes_no_nonsense(
    tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    """Status 2, with the reason, and nothing is written."""
    result = CliRunner().invoke(main, ["init", str(tmp_path / "x"), *more])
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert not (tmp_path / "x").exists()


def hosted(folder: Path, *more: str) -> Config:
    """A machine on a host of its own, named as its folder."""
    arguments = ["init", str(folder), "--name", folder.name, "--host", folder.name, *more]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return load(folder / "crewgate.toml")


def test_machines_on_hosts_of_their_own_are_whole(tmp_path: Path) -> None:
    """The folder of each names no file of another, so it can move; the CA's keys stay."""
    secret = ("--ledger", URL, "--password-file", "secrets/db")
    peers = ("--peer", "gw-2:8446", "--peer", "gw-3:8446", "--host", "10.0.0.1", "--remote-admin")
    one = hosted(tmp_path / "gw-1", *peers, *secret)
    (tmp_path / "gw-1" / "secrets").mkdir()
    (tmp_path / "gw-1" / "secrets" / "db").write_text("pw")
    (tmp_path / "gw-1" / "secrets" / "key").write_text("key")
    with one.path.open("a") as file:
        file.write(
            '[upstream.far]\nurl = "https://far.example"\n'
            'credential = { header = "x-key", file = "secrets/key" }\n'
        )
    two = hosted(tmp_path / "gw-2", "--from", str(one.path))
    for config, others in ((one, ("gw-2", "gw-3")), (two, ("gw-1", "gw-3"))):
        assert config.cluster is not None
        assert config.control is not None
        assert config.admin is not None
        name = config.path.parent.name
        assert config.cluster.reached_at == HostPort(name, 8446)
        assert config.cluster.peers == tuple(HostPort(each, 8446) for each in others)
        places = [config.cluster, config.control, config.admin, *config.listeners]
        assert {each.address for each in places} == {"0.0.0.0"}
        assert config.ledger.url == URL
    assert two.ca is not None
    assert two.ca.control is not None
    assert two.ca.control.url == "https://gw-1:8445"
    shutil.move(one.path.parent, tmp_path / "elsewhere")
    assert not list(two.path.parent.rglob("issu*.key"))
    assert two.ledger.password_file is not None
    assert two.ledger.password_file.read_text() == "pw"
    credential = two.upstreams[1].credential
    assert credential is not None
    assert credential.file is not None
    assert credential.file.read_text() == "key"
    assert str(tmp_path / "gw-1") not in two.path.read_text()
    for name in ("issuing.pem", "crl.pem"):
        assert (two.ca.root.parent / name).read_bytes()
    shown = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in"]
    certificate = tmp_path / "elsewhere" / "certs" / "gateway.pem"
    names = subprocess.run([*shown, str(certificate)], capture_output=True, check=True).stdout
    assert b"DNS:gw-1, IP Address:10.0.0.1, DNS:localhost, IP Address:127.0.0.1" in names


def test_a_machine_elsewhere_cannot_join_one_on_loopback(first: Path, tmp_path: Path) -> None:
    """The error says what to do; nothing is written."""
    result = init(tmp_path / "second", first, "--ledger", URL, "--host", "gw-2")
    assert result.exit_code == 2
    assert "other hosts cannot reach this machine at 127.0.0.1" in result.stderr
    assert not (tmp_path / "second").exists()
