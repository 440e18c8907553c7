"""The list of the revoked on a machine that does not sign it: what it takes, and what it keeps."""

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import forged_certificates
import pytest
from ca_folder import NOW
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.ca.authority import Authority
from crewgate.ca.certificates import CertificateAndKey, make_issuing, pem
from crewgate.ca.crl import make_crl
from crewgate.ca.crl_replica import CRLReplica, authorities, judge
from crewgate.ca.key_files import read_key
from crewgate.config import CAConfig
from crewgate.errors import CAError

SERIAL = ("AB12", 1_700_000_000, "")


class Sites:
    """The CA's folder, and a machine that has of it what is public, on a clock of the test."""

    def __init__(self, folder: Path, ca: CAConfig) -> None:
        self.ca = ca
        (folder / "state").mkdir()
        self.public = folder / "away"
        self.public.mkdir()
        self.at = NOW
        away = CAConfig(
            folder / "no-ca", self.public / "ca.pem", self.public / "crl.pem", "x.example"
        )
        away.root.write_bytes(ca.root.read_bytes())
        away.issuing.write_bytes(ca.issuing.read_bytes())
        self.kept = CRLReplica(away, folder / "state", (), self.wall)
        with Authority(ca) as authority:
            self.issuing = authority.issuing

    def wall(self) -> float:
        """The time there."""
        return self.at.timestamp()

    def signed(
        self, number: int, dead: Iterable[tuple[str, int, str]] = (), *,
        at: datetime = NOW, by: CertificateAndKey | None = None,
    ) -> bytes:  # fmt: skip
        """DER of a list."""
        data = make_crl(by or self.issuing, dead, number, at)
        return x509.load_pem_x509_crl(data).public_bytes(Encoding.DER)

    @property
    def number(self) -> int:
        """Of the list in the file; 0 without a good one."""
        held = self.kept.held()
        return held.number if held else 0


@pytest.fixture
def sites(tmp_path: Path, ca: CAConfig) -> Sites:
    """Both."""
    return Sites(tmp_path, ca)


def test_a_machine_without_a_list_takes_the_first(sites: Sites) -> None:
    """As PEM, which is what listeners read; others may read it too."""
    assert sites.kept.held() is None
    taken = sites.kept.take(sites.signed(7, [SERIAL]))
    assert taken is not None
    assert sites.number == 7
    crl = x509.load_pem_x509_crl(sites.kept.ca.crl.read_bytes())
    assert [each.serial_number for each in crl] == [0xAB12]
    assert sites.kept.ca.crl.stat().st_mode & 0o777 == 0o644


def test_no_older_list_takes_the_place_of_a_newer_one(sites: Sites) -> None:
    """Whatever its times say: the number decides."""
    assert sites.kept.take(sites.signed(7, at=NOW - timedelta(hours=2)))
    for number in (7, 6, 1):
        assert sites.kept.take(sites.signed(number)) is None
        assert sites.number == 7
    assert sites.kept.take(sites.signed(8))
    assert sites.number == 8


def test_in_the_place_of_one_that_is_over_any_good_one_is_taken(sites: Sites) -> None:
    """Its number may be a lower one: the register was restored, and its clock had been ahead."""
    assert sites.kept.take(sites.signed(10**12))
    assert sites.kept.take(sites.signed(7)) is None
    sites.at = NOW + timedelta(seconds=limits.crl_seconds + 1)
    assert sites.kept.take(sites.signed(7, at=sites.at))
    assert sites.number == 7


@pytest.mark.parametrize("what", ["another CA", "a root", "a leaf's key", "bits", "no list"])
def test_what_the_ca_has_not_signed_is_none(sites: Sites, what: str) -> None:
    """And what was held stays."""
    assert sites.kept.take(sites.signed(7))
    good = sites.signed(9, [SERIAL])
    stranger = forged_certificates.other_issuing()
    named = CertificateAndKey(sites.issuing.certificate, stranger.key)  # our name, another key
    data = {
        "another CA": sites.signed(9, by=stranger),
        "a root": sites.signed(9, by=make_issuing(stranger, NOW)),
        "a leaf's key": sites.signed(9, by=named),
        "bits": good[:-1] + bytes([good[-1] ^ 1]),
        "no list": b"0\x03\x02\x01\x01",
    }[what]
    with pytest.raises(CAError):
        sites.kept.take(data)
    assert sites.number == 7


def test_a_list_of_a_time_to_come_or_that_is_over_is_not_taken(sites: Sites) -> None:
    """It would have this machine refuse everybody."""
    assert sites.kept.take(sites.signed(7))
    with pytest.raises(CAError, match="from the future"):
        sites.kept.take(sites.signed(8, at=NOW + timedelta(hours=1)))
    with pytest.raises(CAError, match="has expired"):
        sites.kept.take(sites.signed(9, at=NOW - timedelta(days=2)))
    assert sites.number == 7


def test_the_issuing_ca_is_found_in_the_machines_own_chain(sites: Sites, tmp_path: Path) -> None:
    """If issuing.pem is not beside the root; a leaf in that chain may sign no list."""
    chain = tmp_path / "machine.pem"
    chain.write_bytes(
        pem(forged_certificates.other_issuing().certificate) + sites.kept.ca.issuing.read_bytes()
    )
    sites.kept.ca.issuing.unlink()
    assert authorities(sites.kept.ca) == []
    with pytest.raises(CAError, match="not signed by this CA"):
        sites.kept.take(sites.signed(7))
    kept = CRLReplica(sites.kept.ca, tmp_path / "state", [chain], NOW.timestamp)
    assert kept.take(sites.signed(7))
    assert authorities(sites.kept.ca, [chain]) == [sites.issuing.certificate]


def test_a_file_that_is_no_list_of_this_ca_counts_as_none(sites: Sites) -> None:
    """A list takes its place, and a change of the file is seen."""
    sites.kept.ca.crl.write_bytes(make_crl(forged_certificates.other_issuing(), [], 10**9, NOW))
    assert sites.number == 0
    assert sites.kept.take(sites.signed(7))
    sites.kept.ca.crl.write_bytes(b"torn")
    assert sites.number == 0
    assert sites.kept.take(sites.signed(7))


def test_a_disk_that_takes_nothing_keeps_the_list_before(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says where."""
    assert sites.kept.take(sites.signed(7))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CAError, match=r"crl\.pem: .*No space left"):
        sites.kept.take(sites.signed(8))
    monkeypatch.undo()
    assert sites.number == 7
    assert sorted(each.name for each in sites.public.iterdir()) == [
        "ca.pem", "crl.pem", "issuing.pem",
    ]  # fmt: skip


def test_a_number_over_its_bound_is_refused(sites: Sites) -> None:
    """RFC 5280 allows 20 bytes; nothing would ever be newer."""
    with pytest.raises(CAError, match="number"):
        judge(sites.signed(limits.crl_number_max + 1), [sites.issuing.certificate])


def test_where_the_key_is_lists_are_signed(sites: Sites) -> None:
    """Such a machine is handed none."""
    assert not sites.kept.is_signed_here
    assert CRLReplica(sites.ca, sites.public, (), NOW.timestamp).is_signed_here


def test_a_register_from_a_backup_signs_newer_lists_all_the_same(
    tmp_path: Path, ca: CAConfig, read_number: Callable[[CAConfig], int]
) -> None:
    """Machines that have seen later numbers would else keep the lists before until those end."""
    backup = ca.register.read_bytes()
    with Authority(ca) as authority:
        for hour in range(1, 4):
            authority.publish(NOW + timedelta(hours=hour))
    last = read_number(ca)
    for each in ca.folder.glob("issued.sqlite*"):
        each.unlink()
    ca.register.write_bytes(backup)
    with Authority(ca) as authority:
        authority.publish(NOW + timedelta(hours=4))
    assert read_number(ca) > last


@pytest.fixture
def read_number() -> Callable[[CAConfig], int]:
    """Of the list that is published."""

    def read(ca: CAConfig) -> int:
        crl = x509.load_pem_x509_crl(ca.crl.read_bytes())
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    return read


def test_a_second_ca_of_the_same_root_takes_over_by_time(sites: Sites) -> None:
    """Its numbers begin anew, and those of two authorities say nothing of one another."""
    assert sites.kept.take(sites.signed(10**9))
    root = x509.load_pem_x509_certificate(sites.ca.root.read_bytes())
    second = make_issuing(CertificateAndKey(root, read_key(sites.ca.root_key)), NOW, "second")
    sites.kept.ca.issuing.write_bytes(pem(second.certificate) + pem(sites.issuing.certificate))
    sites.at = NOW + timedelta(hours=1)
    assert sites.kept.take(sites.signed(1, at=sites.at, by=second))
    assert sites.number == 1
    assert sites.kept.take(sites.signed(10**9 + 1)) is None


def test_a_ca_that_is_made_has_a_list_that_others_take(sites: Sites, ca: CAConfig) -> None:
    """`create` publishes one at once."""
    created = x509.load_pem_x509_crl(ca.crl.read_bytes()).public_bytes(Encoding.DER)
    assert sites.kept.take(created)
