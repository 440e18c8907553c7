"""The agent's list of the revoked among peers: what it says it has, takes, and complains of."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.agent.cluster.crl_exchange import ClusterCRLExchange
from crewgate.ca.authority import Authority
from crewgate.cli.commands.init import write_all
from crewgate.config import Config, load

A, B, C = b"gateway a", b"gateway b", b"gateway c"


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

    def lists(self, config: Config) -> ClusterCRLExchange:
        return ClusterCRLExchange(
            lambda: config, datetime.now(UTC).timestamp, lambda: self.now, bytes.decode
        )

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
    assert not signer.version(B).takes
    assert signer.version(B).is_for(other.version(A))
    other.take(signer.data(), A)
    assert other.version(A) == msgspec.structs.replace(signer.version(B), takes=True)
    assert two.public.ca is not None
    crl = x509.load_pem_x509_crl(two.public.ca.crl.read_bytes())
    assert crl.public_bytes(Encoding.DER) == signer.data()
    two.publish()
    assert signer.version(B).is_for(other.version(A))
    assert other.take_message() == ""


def test_what_is_no_good_is_said_once_and_not_asked_for_again_at_once(two: Two) -> None:
    """Else each conversation would bring it again."""
    other = two.lists(two.public)
    other.take(b"no list", A)
    assert "rejected the CRL of gateway a: not a CRL" in other.take_message()
    assert other.take_message() == ""
    assert not other.version(A).takes
    other.take(b"no list", A)
    assert other.take_message() == ""
    two.now += limits.gossip_list_again_seconds
    assert other.version(A).takes
    other.take(two.lists(two.signing).data(), A)
    other.take(b"no list", A)
    assert other.take_message() != ""


def test_one_member_s_bad_list_keeps_nobody_else_s_out(two: Two) -> None:
    """It is named for as long as it may be at it, and the others' lists are taken."""
    signer, other = two.lists(two.signing), two.lists(two.public)
    other.take(b"no list", A)
    assert (other.version(A).takes, other.version(B).takes) == (False, True)
    assert other.invalid().startswith("gateway a: not a CRL")
    other.take(b"no list", C)
    assert other.invalid().endswith("and 1 more")
    other.take(signer.data(), B)
    assert other.version(B).number > 0
    two.now += 2 * limits.gossip_list_again_seconds
    assert other.invalid() == ""


def test_a_member_that_promises_a_newer_list_and_has_none_is_not_asked_at_once(two: Two) -> None:
    """Each conversation would bring megabytes; nothing is said, as another may have been faster."""
    signer, other = two.lists(two.signing), two.lists(two.public)
    other.take(signer.data(), A)
    other.take(signer.data(), B)
    assert (other.version(A).takes, other.version(B).takes) == (True, False)
    assert (other.take_message(), other.invalid()) == ("", "")


def test_who_is_remembered_is_bounded(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first."""
    monkeypatch.setattr(limits, "gossip_members_max", 2)
    other = two.lists(two.public)
    for member in (A, B, C):
        other.take(b"no list", member)
    assert [other.version(member).takes for member in (A, B, C)] == [True, False, False]


def test_a_disk_here_that_takes_no_list_is_nobody_else_s_fault(two: Two) -> None:
    """Nobody hands one over for a while, and no member is named."""
    signer, other = two.lists(two.signing), two.lists(two.public)
    assert two.public.ca is not None
    (two.public.state / "list.lock").mkdir()
    other.take(signer.data(), A)
    assert "cannot store the CRL of a peer: " in other.take_message()
    assert (other.invalid(), other.version(B).takes) == ("", False)


def test_a_list_with_an_extension_twice_is_no_list(two: Two) -> None:
    """Not every error of its parser is a ValueError."""
    data = two.lists(two.signing).data()
    key_identifier, number = b"\x06\x03\x55\x1d\x23", b"\x06\x03\x55\x1d\x14"
    assert key_identifier in data
    other = two.lists(two.public)
    other.take(data.replace(key_identifier, number), A)
    assert "gateway a: not a CRL" in other.invalid()


def test_one_that_is_over_is_neither_handed_over_nor_in_the_way(two: Two) -> None:
    """It refuses everybody; any good one is newer."""
    signer, other = two.lists(two.signing), two.lists(two.public)
    other.take(signer.data(), A)
    config, day = two.public, float(limits.crl_seconds)
    late = ClusterCRLExchange(
        lambda: config, lambda: datetime.now(UTC).timestamp() + day, lambda: 0.0, bytes.decode
    )
    assert (late.version(A).number, late.version(A).takes) == (0, True)
    assert other.version(A).number > 0


def test_a_list_that_fills_no_frame_stays_here(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a person hears of it."""
    monkeypatch.setattr(limits, "gossip_list_bytes_max", 100)
    signer = two.lists(two.signing)
    assert (signer.version(B).number, signer.data()) == (0, b"")
    assert "copy the file to the other machines" in signer.take_message()


def test_a_machine_without_a_ca_has_none(two: Two) -> None:
    """Nor takes one."""
    lists = two.lists(msgspec.structs.replace(two.public, ca=None))
    assert (lists.version(A).number, lists.version(A).takes, lists.data()) == (0, False, b"")
    lists.take(b"whatever", A)
    assert lists.take_message() == ""
