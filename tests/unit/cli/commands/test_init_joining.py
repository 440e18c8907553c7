"""What `crewgate init --from` writes into [cluster]: whom a further machine joins, and how."""

import re
import time
from pathlib import Path

import pytest
from cli_runner import Run
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate.ca.member_signing_key import public_half
from crewgate.config import ClusterConfig, HostPort, load
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role, member_id

ALONE = ("--budgets", "per-machine")
LEDGER = ("--ledger", "postgresql://crewgate@db.example/budgets")
ANY = 'staleness_quorum = "any"'


def further(run: Run, folder: Path, port: int, first: Path, *more: str) -> tuple[Path, str]:
    """A machine made of another; its file, and what was told."""
    result = run("init", folder, "--port", port, "--from", first, *(more or LEDGER))
    assert result.exit_code == 0, result.output
    return folder / "crewgate.toml", result.stderr


def cluster_of(file: Path) -> ClusterConfig:
    """The section that must be there."""
    cluster = load(file).cluster
    assert cluster is not None
    return cluster


def identity_in(file: Path) -> Identity:
    """Whom the certificate of a configuration speaks for."""
    leaf = x509.load_pem_x509_certificates(cluster_of(file).certificate.read_bytes())[0]
    return read(leaf.public_bytes(Encoding.DER)).speaks_for()


def with_peers(file: Path, peers: str) -> None:
    """A machine that has been told of others; its budgets are on a server then."""
    text = file.read_text().replace("peers = []", peers)
    file.write_text(text.replace("sqlite:state/ledger.db", LEDGER[1]))


def test_it_is_another_machine_of_one_authority(run: Run, fresh: Path, tmp_path: Path) -> None:
    """Another name, key and signing key; the same right, on a port as far above as all others."""
    second, _ = further(run, tmp_path / "second", 9500, fresh)
    cluster = cluster_of(second)
    assert (cluster.address, cluster.port) == ("127.0.0.1", 9503)
    for path, name in (
        (cluster.certificate, "certs/machine.pem"),
        (cluster.key, "gateway/machine.key"),
        (cluster.signing_key, "gateway/signing.key"),
    ):
        assert path == second.parent / name
    mine, theirs = identity_in(second), identity_in(fresh)
    assert (mine.role, mine.rights) == (Role.GATEWAY, (MAY_REVOKE,))
    assert mine.key == public_half(cluster.signing_key)
    assert {mine.name, mine.key, mine.instance}.isdisjoint(
        {theirs.name, theirs.key, theirs.instance}
    )
    assert load(second).ledger.url == LEDGER[1]


def test_two_machines_are_a_pair_that_goes_on_alone(run: Run, fresh: Path, tmp_path: Path) -> None:
    """It says what that costs, and that the first one is to say the same."""
    second, told = further(run, tmp_path / "second", 9500, fresh)
    cluster = cluster_of(second)
    assert cluster.peers == (HostPort("127.0.0.1", 9003),)
    assert cluster.staleness_quorum == "any"
    text = re.sub(r"\s+#?\s*", " ", second.read_text())
    assert (
        'With "any" each of the two goes on alone when the other cannot be reached, and what was '
        "revoked there is not known here until it is back."
    ) in text
    assert f'write peers = ["127.0.0.1:9503"] and {ANY} into [cluster] of {fresh}' in told
    with_peers(fresh, f'peers = ["127.0.0.1:9503"]\n{ANY}')
    assert load(fresh).cluster is not None


def test_a_third_one_ends_the_pair(run: Run, fresh: Path, tmp_path: Path) -> None:
    """It joins the first and whom that knows, by a majority; the others are to say so too."""
    second, _ = further(run, tmp_path / "second", 9500, fresh)
    for number, made_of in ((1, fresh), (2, second)):
        with_peers(fresh, f'peers = ["127.0.0.1:9503"]\n{ANY}')
        third, told = further(run, tmp_path / f"third-{number}", 9600, made_of)
        cluster = cluster_of(third)
        assert set(cluster.peers) == {HostPort("127.0.0.1", 9003), HostPort("127.0.0.1", 9503)}
        assert (cluster.staleness_quorum, cluster.port) == ("majority", 9603)
        assert "none is a majority" not in third.read_text()
        assert f"remove {ANY} from [cluster] of {made_of} and of all others" in told
        assert "write peers" not in told


def test_a_third_one_is_no_pair_though_the_first_was_told_of_none(
    run: Run, fresh: Path, tmp_path: Path
) -> None:
    """The CA knows of the second: a majority is asked, and a person says whether it is there."""
    second, _ = further(run, tmp_path / "second", 9500, fresh)
    third, told = further(run, tmp_path / "third", 9600, fresh)
    cluster = cluster_of(third)
    assert cluster.peers == (HostPort("127.0.0.1", 9003),)
    assert cluster.staleness_quorum == "majority"
    assert f'write peers = ["127.0.0.1:9603"] into [cluster] of {fresh}' in told
    name = identity_in(second).name
    assert f"write the address of {name} into peers, here and in {fresh}, and remove {ANY}" in told


def test_one_for_another_host_is_not_told_as_the_first_ones_peer(
    run: Run, fresh: Path, tmp_path: Path
) -> None:
    """On the same ports it has the first one's addresses until a person writes its own."""
    second, told = further(run, tmp_path / "second", 9000, fresh)
    assert f"write the addresses of its own host into {second}, which has those of {fresh}" in told
    assert "peers = [" not in told
    assert f"write {ANY} into [cluster] of {fresh}" in told


def test_one_that_was_evicted_is_no_third(run: Run, fresh: Path, tmp_path: Path) -> None:
    """Its certificate is good by the CA's register alone: the new one makes a pair."""
    second, _ = further(run, tmp_path / "second", 9500, fresh)
    name = identity_in(second).name
    gone = load(fresh).state / "gossip" / f"{member_id(name).hex()}.gone"
    gone.write_text(str(int(time.time()) + 1))
    third, told = further(run, tmp_path / "third", 9600, fresh)
    assert cluster_of(third).staleness_quorum == "any"
    assert name not in told


def test_of_a_pair_one_line_says_the_quorum(run: Run, fresh: Path, tmp_path: Path) -> None:
    """The default beside it would contradict it; nor is there a gap where [ledger] was."""
    text = further(run, tmp_path / "second", 9500, fresh)[0].read_text()
    assert text.count("staleness_quorum") == 1
    assert "\n\n\n" not in text


def test_a_machine_that_is_made_again_does_not_join_itself(
    run: Run, fresh: Path, tmp_path: Path
) -> None:
    """The first one still knows the place of the one before."""
    with_peers(fresh, 'peers = ["127.0.0.1:9503", "127.0.0.1:9003"]')
    second, _ = further(run, tmp_path / "second", 9500, fresh)
    cluster = cluster_of(second)
    assert cluster.peers == (HostPort("127.0.0.1", 9003),)
    assert cluster.staleness_quorum == "any"


@pytest.mark.parametrize(
    "peers",
    [
        'peers = ["[::1]:1", "gw2.example:2"]',
        'peers = [\n  "[::1]:1",  # one ] of them\n  "gw2.example:2",\n]',
        "peers = [\n'[::1]:1',\n'gw2.example:2' ]  # two",
    ],
)
def test_however_the_peers_are_written(run: Run, fresh: Path, tmp_path: Path, peers: str) -> None:
    """On one line or on many; what comes after is kept."""
    with_peers(fresh, peers)
    second, _ = further(run, tmp_path / "second", 9500, fresh)
    assert cluster_of(second).peers == (
        HostPort("127.0.0.1", 9003), HostPort("::1", 1), HostPort("gw2.example", 2),
    )  # fmt: skip
    assert cluster_of(second).signing_key == second.parent / "gateway" / "signing.key"


def test_what_others_are_told_is_joined(run: Run, fresh: Path, tmp_path: Path) -> None:
    """A wildcard is nobody's address; the port that is advertised moves as the others do."""
    text = fresh.read_text()
    begin = text.index("[cluster]")
    section = text[begin:].replace('"127.0.0.1"', '"::"\nadvertise = "[2001:db8::1]:7003"', 1)
    section = section.replace("# max_staleness_seconds = 5\n", "max_staleness_seconds = 9\n")
    fresh.write_text(text[:begin] + section)
    cluster = cluster_of(further(run, tmp_path / "second", 9500, fresh)[0])
    assert cluster.peers == (HostPort("2001:db8::1", 7003),)
    assert (cluster.address, cluster.advertise) == ("::", HostPort("2001:db8::1", 7503))
    assert cluster.max_staleness_seconds == 9.0


def test_budgets_on_each_machine_are_said_on_both(run: Run, fresh: Path, tmp_path: Path) -> None:
    """Or the first one would refuse its own peers."""
    _, told = further(run, tmp_path / "second", 9500, fresh, *ALONE)
    assert f"write per_machine = true into [ledger] of {fresh}, and start its gateway" in told


def test_who_cannot_be_joined_says_what_to_add(run: Run, fresh: Path, tmp_path: Path) -> None:
    """A configuration of before there were peers; nothing is written."""
    text = fresh.read_text()
    begin, end = text.index("[cluster]"), text.index("# The listener for agents")
    fresh.write_text(text[:begin] + text[end:])
    result = run("init", tmp_path / "second", "--from", fresh, *LEDGER)
    assert result.exit_code == 2
    assert f"{fresh}: there is no [cluster], so no machine can join this one." in result.stderr
    assert "--role gateway --name NAME --signing-key signing.key --right revoke" in result.stderr
    assert not (tmp_path / "second").exists()
