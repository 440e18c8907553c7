"""[cluster] and `when_stale`: each key arrives, each mistake is one line, three may change."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from crewgate import limits
from crewgate.config import ClusterConfig, Config, HostPort, load
from crewgate.config.restart_only import wants_restart
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
CA_TEXT = '[ca]\ntrust_domain = "x.example"\n'
CONTROL = """
[control]
address = "127.0.0.1"
port = 8445
certificate = "certs/gateway.pem"
key = "gateway.key"
"""
LEDGER = '[ledger]\nurl = "postgresql://crewgate@db.example/budgets"\n'
LEAST = """
[cluster]
address = "127.0.0.1"
port = 8446
certificate = "certs/machine.pem"
key = "gateway/machine.key"
signing_key = "gateway/signing.key"
"""
PEERS = 'peers = ["10.0.0.2:8446", "GW2.example:8446", "[::1]:8446"]\n'
WHOLE = (
    LEAST.replace("127.0.0.1", "::")
    + PEERS
    + 'advertise = "[2001:DB8::1]:9446"\nstaleness_quorum = "any"\nmax_staleness_seconds = 10\n'
)


def read(path: Path) -> ClusterConfig:
    """The section that must be there."""
    cluster = load(path).cluster
    assert cluster is not None
    return cluster


def test_every_key_arrives(write: Write, minimal: str, tmp_path: Path) -> None:
    """Paths absolute, places taken apart, addresses and names as they are compared."""
    assert read(write(minimal + CA_TEXT + LEDGER + WHOLE)) == ClusterConfig(
        address="::",
        port=8446,
        certificate=tmp_path / "certs/machine.pem",
        key=tmp_path / "gateway/machine.key",
        signing_key=tmp_path / "gateway/signing.key",
        peers=(HostPort("10.0.0.2", 8446), HostPort("gw2.example", 8446), HostPort("::1", 8446)),
        advertise=HostPort("2001:db8::1", 9446),
        staleness_quorum="any",
        max_staleness_seconds=10.0,
    )


def test_what_need_not_be_said(write: Write, minimal: str) -> None:
    """A machine that nobody has joined yet; a majority, within five seconds; or none at all."""
    cluster = read(write(minimal + CA_TEXT + LEAST))
    assert (cluster.peers, cluster.advertise) == ((), None)
    assert (cluster.staleness_quorum, cluster.max_staleness_seconds) == ("majority", 5.0)
    assert load(write(minimal)).cluster is None


def test_peers_look_where_it_listens_or_where_it_says(write: Write, minimal: str) -> None:
    """As the file spells it."""
    assert str(read(write(minimal + CA_TEXT + LEAST)).reached_at) == "127.0.0.1:8446"
    whole = read(write(minimal + CA_TEXT + LEDGER + WHOLE))
    assert str(whole.reached_at) == "[2001:db8::1]:9446"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("port = 8446", "", "cluster.port: missing; expected a whole number"),
        ('address = "127.0.0.1"', 'address = "gw.example"', "expected an IP address"),
        ('signing_key = "gateway/signing.key"', "", "cluster.signing_key: missing"),
        ('certificate = "certs/machine.pem"', "", "cluster.certificate: missing"),
        ('key = "gateway/machine.key"', "", "cluster.key: missing"),
        (PEERS, PEERS.replace("10.0.0.2:8446", "10.0.0.2"), 'each "HOST:PORT", such as'),
        (PEERS, PEERS.replace("10.0.0.2:8446", "10.2:8446"), 'each "HOST:PORT"'),
        (PEERS, PEERS.replace("10.0.0.2:8446", "[10.0.0.2]:8446"), 'each "HOST:PORT"'),
        (PEERS, PEERS.replace("[::1]:8446", "::1:8446"), 'each "HOST:PORT"'),
        (PEERS, PEERS.replace("8446", "0", 1), 'each "HOST:PORT"'),
        (PEERS, PEERS.replace("8446", "65536", 1), 'each "HOST:PORT"'),
        (
            PEERS,
            PEERS.replace("10.0.0.2", "0.0.0.0"),
            "this address means every address of a machine",
        ),
        (PEERS, PEERS.replace("10.0.0.2", "[::1]"), "an entry is repeated"),
        (PEERS, "peers = [8446]\n", 'each "HOST:PORT"'),
        (PEERS, 'peers = "10.0.0.2:8446"\n', f"a list of at most {limits.cluster_peers_max}"),
        (PEERS, 'advertise = "gw.example"\n', 'expected "HOST:PORT"'),
        (PEERS, 'advertise = "[::]:8446"\n', "this address means every address of a machine"),
        (PEERS, 'staleness_quorum = "all"\n', 'expected "majority" or "any"'),
        (PEERS, "max_staleness_seconds = 0.5\n", "expected seconds, from 1 to 60"),
        (PEERS, "max_staleness_seconds = 61\n", "expected seconds, from 1 to 60"),
        (PEERS, 'peer = ["10.0.0.2:8446"]\n', 'unknown key; did you mean "peers"?'),
        (
            'address = "127.0.0.1"',
            'address = "0.0.0.0"',
            "cluster.advertise: missing; peers cannot",
        ),
        (CA_TEXT, "", "cluster: there is no [ca] whose certificates its peers could have"),
        (
            "port = 8446",
            "port = 8445",
            'cluster: "[control]" has the same address and port (127.0.0.1 port 8445)',
        ),
        (
            "port = 8446",
            "port = 8443",
            'listener "agents": "[cluster]" has the same address and port (127.0.0.1 port 8443)',
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(
    write: Write, whole: str, old: str, new: str, says: str
) -> None:
    """What, where, and what was expected."""
    text = whole + CA_TEXT + LEDGER + LEAST + PEERS
    if says.startswith('cluster: "[control]"'):
        text += CONTROL
    place = text.rindex(old)
    with pytest.raises(ConfigurationError) as raised:
        load(write(text[:place] + text[place:].replace(old, new, 1)))
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_peers_share_no_budgets_through_a_file(write: Write, minimal: str) -> None:
    """Each branch could spend its credits on each machine, unless that is what somebody wants."""
    text = minimal + CA_TEXT + LEAST
    with pytest.raises(ConfigurationError) as raised:
        load(write(text + PEERS))
    assert "cluster.peers: budgets are in sqlite:" in str(raised.value)
    assert "could spend its credits on each machine" in str(raised.value)
    assert "write per_machine = true there if you want that" in str(raised.value)
    load(write(text + PEERS + LEDGER))
    alone = '[ledger]\nurl = "sqlite:state/ledger.db"\nper_machine = true\n'
    load(write(text + PEERS + alone))
    load(write(text))


def test_a_tool_says_what_becomes_of_its_calls(write: Write, whole: str) -> None:
    """While this machine may lack the newest revocations: none, unless it says otherwise."""
    assert [tool.when_stale for tool in load(write(whole)).tools] == ["closed", "closed"]
    text = whole.replace('mode = "observe"\n\n[audit]', 'when_stale = "open"\n\n[audit]')
    assert [tool.when_stale for tool in load(write(text)).tools] == ["closed", "open"]
    with pytest.raises(ConfigurationError, match='"ajar": expected "closed" or "open"'):
        load(write(text.replace('when_stale = "open"', 'when_stale = "ajar"')))


def test_a_reload_may_change_three_keys(write: Write, minimal: str) -> None:
    """Whom to join and how fresh to be; everything else is opened once."""
    one = load(write(minimal + CA_TEXT + LEDGER + LEAST))
    more = read(write(minimal + CA_TEXT + LEDGER + LEAST + PEERS))

    def changed(cluster: ClusterConfig | None, **keys: object) -> Config:
        if cluster is not None:
            cluster = msgspec.structs.replace(cluster, **keys)
        return msgspec.structs.replace(one, cluster=cluster)

    other = changed(more, staleness_quorum="any", max_staleness_seconds=9.0)
    assert [*wants_restart(one, other)] == []
    for name, value in (
        ("address", "::1"),
        ("port", 1),
        ("certificate", Path("x")),
        ("key", Path("x")),
        ("signing_key", Path("x")),
        ("advertise", HostPort("::1", 1)),
    ):
        assert [*wants_restart(one, changed(one.cluster, **{name: value}))] == [
            f"{name} of [cluster]"
        ]
    alone = changed(None)
    assert [*wants_restart(one, alone)] == [*wants_restart(alone, one)] == ["[cluster]"]
    assert [*wants_restart(alone, alone)] == []
