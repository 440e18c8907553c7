"""What a changed file may change while the machine serves, and what wants another start."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.agent.active_config import ActiveConfig, watched
from crewgate.cli.commands.init import write_all
from crewgate.config import load
from crewgate.errors import ConfigurationError
from crewgate.policy import serve_config_checks
from crewgate.runtime.listening import listen
from crewgate.runtime.sealing_key_file import make_sealing_keys

Change = Callable[[str], str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration as `init` writes it."""
    return write_all(tmp_path / "gate", 8443)


def without_cluster(text: str) -> str:
    begin, end = text.index("[cluster]"), text.index("# The listener for agents")
    return text[:begin] + text[end:]


def in_cluster(old: str, new: str) -> Change:
    def change(text: str) -> str:
        begin = text.index(old, text.index("[cluster]"))
        return text[:begin] + new + text[begin + len(old) :]

    return change


def test_the_log_names_a_crew_that_looks_like_an_operator(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, and when a changed file has such a crew."""
    good = file.read_text()
    bad = good.replace("[crew.article", "[crew.operator")
    file.write_text(bad)
    one = ActiveConfig(file)
    assert f"{file}: crew.operator: its orchestrators look like operators" in caplog.text
    caplog.clear()
    for text, times in ((good, 0), (bad, 1)):
        file.write_text(text)
        one.replace(one.read_files())
        assert caplog.text.count("look like operators") == times


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace('state = "state"', 'state = "other"'), "state"),
        (lambda text: text.replace('\nname = "', '\nname = "b', 1), "name"),
        (lambda text: text + "[table]\nbranches = 64\n", "[table]"),
        (lambda text: text.replace("ledger.db", "other.db"), "[ledger]"),
        (without_cluster, "[cluster]"),
        (in_cluster("port = 8446", "port = 8449"), "port of [cluster]"),
        (in_cluster('"127.0.0.1"', '"::1"'), "address of [cluster]"),
        (in_cluster("gateway/signing.key", "other.key"), "signing_key of [cluster]"),
        (lambda text: text.replace("crewgate.internal", "x.example"), "trust_domain of [ca]"),
    ],
)
def test_what_wants_another_start_is_refused(file: Path, change: Change, says: str) -> None:
    """With the key; what is in force stays."""
    one = ActiveConfig(file)
    before, text = one.config, file.read_text()
    file.write_text(change(text))
    with pytest.raises(ConfigurationError) as raised:
        one.read_files()
    assert f"{file}: {says}" in str(raised.value)
    assert str(raised.value).endswith(
        " cannot change while serving; end `crewgate serve` and start it again, or take the change "
        "back"
    )
    assert one.config is before


def test_whom_to_join_may_change(file: Path) -> None:
    """And when to be fresh; also a trust domain that no peer knows."""
    text = file.read_text().replace("[ledger]\n", "[ledger]\nper_machine = true\n")
    file.write_text(text)
    one = ActiveConfig(file)
    peers = 'staleness_quorum = "any"\nmax_staleness_seconds = 9\npeers = ["gw2.example:8446"]'
    file.write_text(text.replace("peers = []", peers))
    found = one.read_files().config.cluster
    assert found is not None
    assert (found.staleness_quorum, found.max_staleness_seconds) == ("any", 9.0)
    file.write_text(without_cluster(text))
    alone = ActiveConfig(file)
    file.write_text(without_cluster(text).replace("crewgate.internal", "x.example"))
    alone.read_files()


def test_a_renewed_certificate_for_peers_is_a_change(file: Path) -> None:
    """Although no listener shows it."""
    files = {path.relative_to(file.parent) for path in watched(ActiveConfig(file).config)}
    assert {Path("certs/machine.pem"), Path("gateway/machine.key")} < files


def test_a_port_that_another_program_has_is_refused(file: Path) -> None:
    """Another gateway of this user would share it, and be asked with our tokens."""
    one = ActiveConfig(file)
    with listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        file.write_text(file.read_text().replace("port = 8443", f"port = {port}", 1))
        with pytest.raises(ConfigurationError, match=f"listener agents: .* port {port}: another"):
            one.read_files()
        assert ActiveConfig(file).read_files().config.listeners[0].port == port
    assert one.read_files().config.listeners[0].port == port


@pytest.mark.parametrize(("before", "after"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "::")])
def test_another_address_on_a_port_of_ours_is_taken_up(file: Path, before: str, after: str) -> None:
    """The workers that serve there are our own, not another program."""
    with listen(before, 0) as worker:
        text = file.read_text().replace("port = 8443", f"port = {worker.getsockname()[1]}", 1)
        first = text.index("address = ", text.index("[[listener]]"))
        end = text.index("\n", first)
        file.write_text(f'{text[:first]}address = "{before}"{text[end:]}')
        one = ActiveConfig(file)
        file.write_text(f'{text[:first]}address = "{after}"{text[end:]}')
        assert one.read_files().config.listeners[0].address == after


def _without_its_key(file: Path) -> None:
    (file.parent / "gateway/gateway.key").write_bytes(
        (file.parent / "gateway/machine.key").read_bytes()
    )


def _with_a_credential(file: Path) -> None:
    line = 'credential = { header = "authorization", file = "secret" }'
    file.write_text(file.read_text().replace("[upstream.tools]", f"[upstream.tools]\n{line}"))


def _with_an_endpoint(file: Path) -> None:
    """It seals ids, and the file with the keys is missing."""
    endpoint = '[mcp.files]\npath = "/mcp"\nupstream = "tools"\nprice = "0"\n'
    file.write_text(f"{file.read_text()}\n{endpoint}")


def _with_an_agent(file: Path) -> None:
    """Its card is to be signed with a key that is not there."""
    endpoint = '[a2a.files]\npath = "/a2a"\nupstream = "tools"\nprice = "0"\n'
    file.write_text(f'{file.read_text()}\n{endpoint}card_key = "card.key"\n')
    make_sealing_keys(load(file).sealing_keys)


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda file: (file.parent / "certs/ca.pem").unlink(), "ca.pem"),
        (lambda file: (file.parent / "certs/gateway.pem").write_text("x"), "gateway.pem"),
        (_without_its_key, "gateway.key"),
        (_with_a_credential, "secret"),
        (_with_an_endpoint, "sealing.keys"),
        (_with_an_agent, "card.key"),
    ],
    ids=["root", "certificate", "key", "credential", "sealing keys", "card key"],
)
def test_files_that_no_worker_can_load_are_refused(
    file: Path, break_it: Callable[[Path], object], says: str
) -> None:
    """Else every worker would have to refuse all calls; without workers nobody loads them."""
    one = ActiveConfig(file)
    break_it(file)
    with pytest.raises(ConfigurationError, match=says):
        one.read_files()
    file.write_text(re.sub(r"(?m)^workers = \d+$", "workers = 0", file.read_text()))
    one.read_files()


def test_what_needs_more_descriptors_than_there_are_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `serve` refuses it: else all but the supervisor would take it up."""
    one = ActiveConfig(file)
    monkeypatch.setattr(serve_config_checks, "most", lambda: 64)
    with pytest.raises(ConfigurationError, match=r"descriptors .* the hard limit"):
        one.read_files()
