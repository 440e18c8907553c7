"""The agent's list of the revoked among peers: what it says it has, takes, and complains of."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.agent.lists import PeerLists
from crewgate.cli.init import write_all
from crewgate.config import Config, load
from crewgate.pki.authority import Authority


class Two:
    """The machine that signs, and one that has the public files alone."""

    def __init__(self, folder: Path) -> None:
        self.signing = load(write_all(folder / "gw", 9000))
        ca = self.signing.ca
        assert ca is not None
        state = folder / "state"
        state.mkdir()
        away = folder / "away"
        away.mkdir()
        for each in (ca.root, ca.issuing):
            (away / each.name).write_bytes(each.read_bytes())
        public = msgspec.structs.replace(
            ca, folder=folder / "none", root=away / ca.root.name, crl=away / "crl.pem"
        )
        self.public: Config = msgspec.structs.replace(self.signing, state=state, ca=public)
        self.now = 1000.0

    def lists(self, config: Config) -> PeerLists:
        return PeerLists(lambda: config, datetime.now(UTC).timestamp, lambda: self.now)

    def publish(self) -> None:
        assert self.signing.ca is not None
        with Authority(self.signing.ca) as authority:
            authority.publish(datetime.now(UTC))


@pytest.fixture
def two(tmp_path: Path) -> Two:
    """Both."""
    return Two(tmp_path)


def test_the_signer_hands_over_and_takes_none(two: Two) -> None:
    """What the machine without the key takes is what its listeners read."""
    signer, other = two.lists(two.signing), two.lists(two.public)
    assert not signer.mark().takes
    assert signer.mark().is_for(other.mark())
    other.take(signer.data())
    assert other.mark() == msgspec.structs.replace(signer.mark(), takes=True)
    assert two.public.ca is not None
    crl = x509.load_pem_x509_crl(two.public.ca.crl.read_bytes())
    assert crl.public_bytes(Encoding.DER) == signer.data()
    two.publish()
    assert signer.mark().is_for(other.mark())
    assert other.news() == ""


def test_what_is_no_good_is_said_once_and_not_asked_for_again_at_once(two: Two) -> None:
    """Else each conversation would bring it again."""
    other = two.lists(two.public)
    other.take(b"no list")
    assert "is not kept: not a list" in other.news()
    assert other.news() == ""
    assert not other.mark().takes
    other.take(b"no list")
    assert other.news() == ""
    two.now += limits.gossip_list_again_seconds
    assert other.mark().takes
    other.take(two.lists(two.signing).data())
    other.take(b"no list")
    assert other.news() != ""


def test_one_that_is_over_is_neither_handed_over_nor_in_the_way(two: Two) -> None:
    """It refuses everybody; any good one is newer."""
    signer, other = two.lists(two.signing), two.lists(two.public)
    other.take(signer.data())
    config, day = two.public, float(limits.crl_seconds)
    late = PeerLists(lambda: config, lambda: datetime.now(UTC).timestamp() + day, lambda: 0.0)
    assert (late.mark().number, late.mark().takes) == (0, True)
    assert other.mark().number > 0


def test_a_list_that_fills_no_frame_stays_here(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a person hears of it."""
    monkeypatch.setattr(limits, "gossip_list_bytes_max", 100)
    signer = two.lists(two.signing)
    assert (signer.mark().number, signer.data()) == (0, b"")
    assert "copy the file there" in signer.news()


def test_a_machine_without_a_ca_has_none(two: Two) -> None:
    """Nor takes one."""
    lists = two.lists(msgspec.structs.replace(two.public, ca=None))
    assert (lists.mark().number, lists.mark().takes, lists.data()) == (0, False, b"")
    lists.take(b"whatever")
    assert lists.news() == ""
