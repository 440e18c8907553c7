"""Certificates that this machine shows: its CA renews them in time, or it warns a person."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from authority import Authority as Stranger
from control_world import ca_of
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.ca.authority import Authority
from crewgate.ca.machine_cert_renewal import CertificateFiles, next_chain, put, shown_certificates
from crewgate.config import CAConfig, Config, load
from crewgate.control.machine_cert_renewer import MachineCertificateRenewer, source_of
from crewgate.core.health import HealthState
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_extension import member_id
from crewgate.errors import CAError

DAY = 86_400.0


class Signer:
    """The CA by its files, at the time that a test sets; `error` refuses."""

    def __init__(self, ca: CAConfig) -> None:
        self.ca = ca
        self.now = datetime.now(UTC).timestamp()
        self.error = ""
        self.asked: list[tuple[str, bool]] = []

    def next_chain(self, leaf: x509.Certificate, pair: CertificateFiles) -> bytes:
        is_server = read(leaf.public_bytes(Encoding.DER)).identity is None
        self.asked.append((pair.certificate.name, is_server))
        if self.error:
            raise CAError(self.error)
        with Authority(self.ca) as authority:
            return next_chain(authority, leaf, datetime.fromtimestamp(self.now, UTC))


class Watched:
    """What a person hears of the certificates of a configuration, from look to look."""

    def __init__(self, config: Config, told: list[str]) -> None:
        self.config = config
        self.signer = Signer(ca_of(config))
        self.told = told
        self.wrong: dict[str, str] = {}
        self.states: dict[str, HealthState] = {}
        self.ahead = 0.0  # of CLOCK_BOOTTIME, as far as the wall clock has jumped (seconds)
        self.renewing = MachineCertificateRenewer(
            lambda: self.signer.now, lambda: self.signer.now - self.ahead
        )
        self.source: Signer | None = self.signer

    def at(self, days: float) -> None:
        """Look so many days later."""
        self.signer.now += days * DAY
        facts = self.renewing.renew_due(self.config, self.source and self.source.next_chain)
        assert not any(fact.refuses for fact in facts)
        self.states = {fact.component: fact.state for fact in facts}
        self.wrong = {
            fact.component: f"{fact.why}; {fact.mend}"
            for fact in facts
            if fact.state is not HealthState.OK
        }

    def jump(self, days: float) -> None:
        """The wall clock alone is set."""
        self.ahead += days * DAY
        self.at(days)

    def leaf(self, name: str) -> x509.Certificate:
        path = self.config.path.parent / "certs" / name
        return x509.load_pem_x509_certificates(path.read_bytes())[0]

    def dies_at(self, name: str) -> float:
        return self.leaf(name).not_valid_after_utc.timestamp()


@pytest.fixture
def watched(config: Config, log_lines: list[str]) -> Watched:
    """As `init` made them: two certificates of 397 days."""
    return Watched(config, log_lines)


def test_all_that_a_machine_shows_is_looked_at_once(config: Config) -> None:
    """Listeners and the API share a file; upstreams' and OCSP's clients have theirs."""
    tls = msgspec.structs.replace(
        config.upstreams[0].tls, certificate=Path("/up.pem"), key=Path("/up.key")
    )
    upstream = msgspec.structs.replace(config.upstreams[0], tls=tls)
    found = shown_certificates(msgspec.structs.replace(config, upstreams=(upstream,)))
    assert [each.certificate.name for each in found] == ["gateway.pem", "machine.pem", "up.pem"]


def test_both_are_renewed_long_before_their_end_and_say_the_same(watched: Watched) -> None:
    """Key, names, identity, rights and life; before that nothing happens."""
    before = {name: watched.leaf(name) for name in ("gateway.pem", "machine.pem")}
    watched.at(397 * 0.55)
    assert (watched.told, watched.signer.asked, watched.wrong) == ([], [], {})
    watched.at(397 * 0.06)
    assert sorted(watched.signer.asked) == [("gateway.pem", True), ("machine.pem", False)]
    assert len(watched.told) == 2
    for name, old in before.items():
        new = watched.leaf(name)
        assert new.serial_number != old.serial_number
        assert (new.public_key(), new.subject) == (old.public_key(), old.subject)
        assert new.not_valid_after_utc - old.not_valid_after_utc > timedelta(days=200)
        was, now = (read(each.public_bytes(Encoding.DER)) for each in (old, new))
        assert (now.identity, now.is_client) == (was.identity, was.is_client)
        names = [each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                 for each in (old, new)]  # fmt: skip
        assert names[0] == names[1]
    watched.at(1)
    assert len(watched.told) == 2
    assert watched.wrong == {}


def test_one_of_a_minute_is_not_renewed_all_the_time(watched: Watched) -> None:
    """It is dated back by more than it lives."""
    folder = watched.config.path.parent
    with Authority(watched.signer.ca) as authority:
        leaf = watched.leaf("machine.pem")
        entry = authority.register.find(f"{leaf.serial_number:X}")
        assert entry is not None
        now = datetime.fromtimestamp(watched.signer.now, UTC)
        brief = authority.renew(entry.serial, now, life_seconds=60)
        (folder / "certs" / "machine.pem").write_bytes(authority.chain(brief))
    second = 1 / DAY
    watched.at(30 * second)
    assert watched.told == []
    watched.at(10 * second)
    assert len(watched.told) == 1
    watched.at(5 * second)
    assert len(watched.told) == 1


def test_it_goes_on_for_as_long_as_the_ca_lives(watched: Watched) -> None:
    """In four years no certificate ends; half a year before the CA does a person hears of that."""
    for _ in range(190):
        watched.at(8)
        assert watched.dies_at("gateway.pem") > watched.signer.now + 30 * DAY
        assert watched.dies_at("machine.pem") > watched.signer.now + 30 * DAY
    assert watched.wrong == {}
    watched.at(1825 - limits.ca_warning_days - 190 * 8 + 1)
    (name,) = watched.wrong
    assert name == "control: issuing CA"
    assert "make a new CA" in watched.wrong[name]


def test_one_that_ended_while_the_machine_was_off_is_renewed_at_once(watched: Watched) -> None:
    """Its key is here, and so is the CA's."""
    watched.at(500)
    assert len(watched.told) == 2
    assert watched.dies_at("machine.pem") > watched.signer.now + 390 * DAY


def test_a_renewal_that_fails_is_tried_again_and_told_of_in_time(watched: Watched) -> None:
    """Once a minute, and from 30 days before the end a person hears why."""
    watched.signer.error = "no room on the disk"
    watched.at(397 * 0.61)
    assert (len(watched.signer.asked), watched.wrong) == (2, {})
    assert all("is due: it is not renewed: no room on the disk" in each for each in watched.told)
    watched.at(limits.renewal_again_seconds / DAY / 2)
    assert len(watched.signer.asked) == 2
    watched.at(limits.renewal_again_seconds / DAY)
    assert len(watched.signer.asked) == 4
    watched.at(397 * 0.39 - 29)
    assert len(watched.wrong) == 2
    for why in watched.wrong.values():
        assert "in 29 days; it is not renewed: no room on the disk" in why
    assert {watched.states[each] for each in watched.wrong} == {HealthState.DEGRADED}
    watched.signer.error = ""
    assert len(watched.told) == 2
    watched.at(1)
    assert watched.wrong == {}
    assert [each.startswith("renewed") for each in watched.told] == [False, False, True, True]


def test_without_the_key_and_nobody_to_ask_it_is_said_from_thirty_days_on(
    watched: Watched,
) -> None:
    """And what would help."""
    watched.source = None
    watched.at(397 - 31)
    assert watched.wrong == {}
    watched.at(2)
    assert len(watched.wrong) == 2
    assert all("[ca] has no `control`" in why for why in watched.wrong.values())
    watched.at(100)
    assert all("has ended on" in why for why in watched.wrong.values())
    assert {watched.states[each] for each in watched.wrong} == {HealthState.FAILED}
    assert source_of(watched.config) is None


def test_another_cas_is_told_of_and_never_touched(watched: Watched) -> None:
    """From 30 days before its end, or a third of a shorter life."""
    folder = watched.config.path.parent / "certs"
    stranger = Stranger(folder)
    files = stranger.issue("localhost", days=90)
    for name, file in (("gateway.pem", files.certificate), ("../gateway/gateway.key", files.key)):
        (folder / name).write_bytes(file.read_bytes())
        (folder / name).chmod(0o600)
    data = (folder / "gateway.pem").read_bytes()
    watched.at(59)
    assert watched.wrong == {}
    watched.at(2)
    (why,) = watched.wrong.values()
    assert "in 29 days; replace it; another CA issued it" in why
    assert (folder / "gateway.pem").read_bytes() == data


def test_a_machine_that_was_evicted_does_not_come_back_by_itself(watched: Watched) -> None:
    """A renewed certificate would make it a member again."""
    who = read(watched.leaf("machine.pem").public_bytes(Encoding.DER))
    gossip = watched.config.state / "gossip"
    gossip.mkdir(parents=True, exist_ok=True)
    (gossip / f"{member_id(who.speaks_for().name).hex()}.gone").write_text(str(who.issued))
    before = watched.dies_at("machine.pem")
    watched.at(397 - 20)
    assert watched.dies_at("machine.pem") == before
    (why,) = watched.wrong.values()
    assert "was evicted" in why


def test_a_key_that_is_another_ones_keeps_the_certificate(watched: Watched) -> None:
    """What would be signed could not be shown."""
    folder = watched.config.path.parent / "gateway"
    (folder / "gateway.key").write_bytes((folder / "machine.key").read_bytes())
    before = watched.dies_at("gateway.pem")
    watched.at(397 - 20)
    assert watched.dies_at("gateway.pem") == before
    assert "not this certificate's key" in next(iter(watched.wrong.values()))


def test_a_link_stays_one_and_the_mode_what_it_was(watched: Watched) -> None:
    """As `certbot` and packages lay files out."""
    file = watched.config.path.parent / "certs" / "gateway.pem"
    real = file.rename(file.with_name("real.pem"))
    real.chmod(0o640)
    file.symlink_to("real.pem")
    watched.at(397 * 0.61)
    assert file.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert watched.dies_at("gateway.pem") > watched.signer.now + 390 * DAY


@pytest.mark.parametrize("is_link", [False, True])
def test_a_key_in_the_same_file_is_never_destroyed(watched: Watched, *, is_link: bool) -> None:
    """Nothing is asked of the CA for it, and a person hears what to do."""
    folder = watched.config.path.parent
    both = folder / "certs" / "gateway.pem"
    key = folder / "gateway" / "gateway.key"
    both.write_bytes(both.read_bytes() + key.read_bytes())
    both.chmod(0o600)
    if is_link:
        key.unlink()
        key.symlink_to(both)
    data, leaf = both.read_bytes(), watched.leaf("gateway.pem")
    watched.at(397 * 0.5)
    assert watched.wrong == {}
    watched.at(397 * 0.11)
    assert both.read_bytes() == data
    assert watched.signer.asked == [("machine.pem", False)]
    (name,) = watched.wrong
    assert "would destroy the private key in the same file" in watched.wrong[name]
    assert "into separate files" in watched.wrong[name]
    assert watched.states[name] is HealthState.DEGRADED
    with Authority(watched.signer.ca) as authority:
        chain = next_chain(authority, leaf, datetime.fromtimestamp(watched.signer.now, UTC))
    with pytest.raises(CAError, match="not replaced, because it also has a private key"):
        put(both, leaf, chain, watched.signer.now, however_long=True)
    assert both.read_bytes() == data


def test_a_clock_that_is_ahead_for_seconds_renews_nothing(watched: Watched) -> None:
    """Nor does one that is back; what was wrong stays so. One that stays ahead is believed."""
    second = 1 / DAY
    watched.at(1)
    watched.jump(500)
    assert set(watched.states.values()) == {HealthState.OK}
    watched.at(5 * second)
    watched.jump(-500)
    watched.at(60 * second)
    assert (watched.told, watched.signer.asked) == ([], [])
    watched.jump(500)
    watched.at((limits.clock_settle_seconds + 1) * second)
    assert len(watched.told) == 2


def test_what_a_clock_that_was_ahead_has_signed_is_signed_again(watched: Watched) -> None:
    """Clients refuse it until the time comes; the next one may end earlier."""
    watched.at(500)
    ahead = {name: watched.dies_at(name) for name in ("gateway.pem", "machine.pem")}
    watched.at(-490)
    assert len(watched.told) == 4
    for name, end in ahead.items():
        assert watched.leaf(name).not_valid_before_utc.timestamp() <= watched.signer.now
        assert watched.signer.now + 390 * DAY < watched.dies_at(name) < end
    watched.at(1)
    assert (len(watched.told), watched.wrong) == (4, {})


@pytest.mark.parametrize("days", [1, -500])
def test_a_next_one_that_is_not_valid_now_is_not_used(watched: Watched, days: float) -> None:
    """The clock of the machine with the CA's key may be wrong."""
    path, leaf = watched.config.path.parent / "certs" / "gateway.pem", watched.leaf("gateway.pem")
    data, now = path.read_bytes(), watched.signer.now
    with Authority(watched.signer.ca) as authority:
        chain = next_chain(authority, leaf, datetime.fromtimestamp(now + days * DAY, UTC))
    with pytest.raises(CAError, match="is not valid now"):
        put(path, leaf, chain, now, however_long=True)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('control = "https://gw:8445"\n', ""),
        ('control = "http://gw:8445"\n', 'expected "https://HOST:PORT"'),
        ('control = "https://gw:8445/x"\n', 'expected "https://HOST:PORT"'),
        (
            'control_certificate = "a"\ncontrol_key = "b"\n',
            "control_certificate: it has no effect without control",
        ),
        ('control = "https://gw:8445"\ncontrol_key = "b"\n', "control_certificate and control_key"),
    ],
)
def test_whom_a_machine_without_the_key_asks(
    config: Config, text: str, says: str, refused: Callable[[Path], str]
) -> None:
    """With its own certificate of [cluster], unless another is named."""
    config.path.write_text(config.path.read_text().replace("[ca]\n", f"[ca]\n{text}"))
    assert says in refused(config.path)
    if not says:
        remote = load(config.path).remote
        assert remote is not None
        assert (remote.url, remote.certificate) == (
            "https://gw:8445", config.path.parent / "certs" / "machine.pem",
        )  # fmt: skip


@pytest.fixture
def refused() -> Callable[[Path], str]:
    """What `load` says of a file; nothing if it is good."""

    def read_(path: Path) -> str:
        try:
            load(path)
        except Exception as error:  # noqa: BLE001 - its text is what counts
            return str(error)
        return ""

    return read_
