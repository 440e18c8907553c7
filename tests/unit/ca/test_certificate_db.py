"""The register of certificates: durable, one for several processes, and true after any kill."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import msgspec
import pytest
from certificates_written import NOW, entry
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import CAError
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an empty register is."""
    path = tmp_path / "issued.sqlite"
    CertificateDB(path, is_new=True).close()
    return path


def test_nobody_makes_one_in_passing(tmp_path: Path) -> None:
    """In an empty one nothing is revoked; whoever asks or begins a life is told to put it back."""
    path = tmp_path / "issued.sqlite"
    for use in (CertificateDB, OrchestratorRunStore):
        with pytest.raises(CAError, match=r"issued\.sqlite: the CA's register is missing"):
            use(path)
    assert list(tmp_path.iterdir()) == []


def test_a_compromised_key_s_whole_life_is_revoked(path: Path) -> None:
    """Whoever had it may have renewed, with a key of his own: the instance is the same."""
    others = msgspec.structs.replace(entry(4), instance=b"i" * 16)
    # A crew chooses the ids of its branches, which are the instances of its agents.
    agents = [
        msgspec.structs.replace(entry(5), role=Role.AGENT),
        msgspec.structs.replace(entry(6), role=Role.AGENT, crew="finance"),
        entry(7, "bd-2"),
    ]
    with CertificateDB(path) as register:
        for each in (entry(1), entry(2), entry(3), others, *agents):
            register.add(each)
        register.revoke(["02"], "superseded", NOW)
        done = register.revoke(["01"], "keyCompromise", NOW + 1, whole_instances=True)
        assert {each.serial for each in done} == {"01", "03"}
        assert register.find("04") == others
        done = register.revoke(["06"], "keyCompromise", NOW + 1, whole_instances=True)
        assert {each.serial for each in done} == {"06"}
        assert [each.reason for each in register.all()][:3] == [
            "keyCompromise", "superseded", "keyCompromise",
        ]  # fmt: skip


def test_what_is_written_is_found_by_another_connection(path: Path) -> None:
    """In any spelling of the serial; what is none is not found."""
    one = entry(0xAB12)
    with CertificateDB(path) as register, CertificateDB(path) as other:
        register.add(one)
        for spelling in ("ab12", "AB12", "0000ab12", "AB:12", f"{0xAB12:064x}"):
            assert other.find(spelling) == one
        for none in ("", "0x1", "-1", "1_0", " 1", "zz", "1" * 65, "é"):
            assert other.find(none) is None


def test_it_is_its_owners_alone(path: Path) -> None:
    """With its companions, whatever the umask."""
    before = os.umask(0)
    try:
        with CertificateDB(path) as register:
            register.add(entry(1))
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert "issued.sqlite-wal" in modes


def test_it_waits_for_the_disk(path: Path) -> None:
    """WAL and synchronous=FULL: what was answered survives a loss of power."""
    with CertificateDB(path) as register:
        assert register._rows("PRAGMA synchronous") == [(2,)]
        assert register._rows("PRAGMA journal_mode") == [("wal",)]


def test_a_serial_is_used_once(path: Path) -> None:
    """A second one is an error, and the first stays."""
    with CertificateDB(path) as register:
        register.add(entry(1))
        with pytest.raises(CAError, match="no certificate is issued to this holder"):
            register.add(entry(1, "mallory"))
        assert [each.name for each in register.all()] == ["bd-1"]


def test_a_revocation_is_pending_until_it_is_announced(path: Path) -> None:
    """Revoked once, with the first reason and time; announced it waits no more."""
    with CertificateDB(path) as register:
        for number in range(3):
            register.add(entry(number))
        serials = [entry(number).serial for number in range(3)]
        done = register.revoke(serials[:2], "keyCompromise", NOW)
        assert [(each.serial, each.revoked, each.reason) for each in done] == [
            (serials[0], NOW, "keyCompromise"),
            (serials[1], NOW, "keyCompromise"),
        ]
        assert [each.serial for each in register.revoke(serials, "superseded", NOW + 9)] == [
            serials[2]
        ]
        assert {each.serial for each in register.pending()} == set(serials)
        register.announced(serials[:1])
        assert {each.serial for each in register.pending()} == set(serials[1:])
        assert register.find(serials[0]) == register.all()[0]
        assert [(each.status(NOW), each.announced) for each in register.all()] == [
            ("revoked", True),
            ("revoked", False),
            ("revoked", False),
        ]


def test_nothing_comes_after_a_revoked_one(path: Path) -> None:
    """Whoever renews while another revokes all that a holder has does not slip through."""
    with CertificateDB(path) as register:
        register.add(entry(1))
        register.add(entry(2), after=entry(1).serial)
        register.revoke([entry(1).serial], "unspecified", NOW)
        with pytest.raises(CAError, match="is revoked"):
            register.add(entry(3), after=entry(1).serial)
        with pytest.raises(CAError, match="is revoked"):
            register.add(entry(3), after="AA")
        assert register.find(entry(3).serial) is None
        register.add(entry(4))  # the database is not left in a transaction


def test_a_holder_has_what_is_neither_revoked_nor_expired(path: Path) -> None:
    """By crew and name."""
    with CertificateDB(path) as register:
        register.add(entry(1))
        register.add(entry(2, end=NOW - 1))
        register.add(entry(3))
        register.add(entry(4, "bd-2"))
        register.revoke([entry(3).serial], "unspecified", NOW)
        assert [each.serial for each in register.of("bd", "bd-1", NOW)] == [entry(1).serial]


def test_the_list_keeps_the_dead_beyond_their_end(path: Path) -> None:
    """By as much as a gateway's clock may be wrong, then the list is short again."""
    with CertificateDB(path) as register:
        register.add(entry(1, end=NOW))
        register.revoke([entry(1).serial], "unspecified", NOW - 5)
        late = NOW + limits.clock_distrust_seconds
        assert register.dead(late) == [(entry(1).serial, NOW - 5, "unspecified")]
        assert register.dead(late + 1) == []


@given(st.integers(1, 20))
def test_numbers_of_lists_only_grow(count: int) -> None:
    """RFC 5280, section 5.2.3."""
    with (
        tempfile.TemporaryDirectory() as folder,
        CertificateDB(Path(folder) / "r", is_new=True) as register,
    ):
        assert [register.next_crl_number(0) for _ in range(count)] == list(range(1, count + 1))


def test_another_version_is_refused(path: Path) -> None:
    """Nothing is guessed about a later schema."""
    CertificateDB(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(CAError, match="version 9"):
        CertificateDB(path)


@pytest.mark.parametrize("what", ["folder", "nonsense", "missing"])
def test_what_is_no_database_is_said(tmp_path: Path, what: str) -> None:
    """One line with the path and whose it must be."""
    path = tmp_path / "x"
    if what == "folder":
        path.mkdir()
    elif what == "nonsense":
        path.write_bytes(b"nonsense" * 500)
    else:
        path = tmp_path / "nowhere" / "x"
    with pytest.raises(CAError, match="the CA's register cannot be used"):
        CertificateDB(path, is_new=True)


def test_old_certificates_of_branches_make_room(path: Path) -> None:
    """Only those of the same orchestrator that ended a day ago; they count for no rate."""
    kept = limits.branch_certificate_kept_seconds
    last = NOW - kept
    ends = {1: last - 1, 2: last, 3: NOW + 900, 4: last - 1, 5: last - 1}
    changes = {4: {"name": "other"}, 5: {"role": Role.ORCHESTRATOR}}

    def one(number: int) -> CertificateRecord:
        fields = _fields(entry(number)) | {
            "role": Role.AGENT,
            "issued": ends[number] - 900,
            "not_after": ends[number],
        }
        return CertificateRecord(**{**fields, **changes.get(number, {})})

    with CertificateDB(path) as register:
        for number in (5, 4, 1, 2, 3):
            register.add(one(number))
        left = {each.serial for each in register.all()}
        assert left == {serial_text(number) for number in (2, 3, 4, 5)}
        assert register.find(serial_text(3)).label.endswith(f"#{one(3).named.branch}")
        assert register.issued_since(one(3).crew, one(3).name, 0) == 1


def test_a_full_disk_undoes_all_of_it(path: Path) -> None:
    """Nothing of a transaction stays, and the next one can be made."""
    with CertificateDB(path) as register:
        register.add(entry(1))
        register._rows("PRAGMA max_page_count = 12")
        with pytest.raises(CAError, match="full"):
            register.add(CertificateRecord(**{**_fields(entry(2)), "pem": "x" * 100_000}))
        assert [each.serial for each in register.all()] == [entry(1).serial]
        register.revoke([entry(1).serial], "unspecified", NOW)
        assert len(register.pending()) == 1


def _fields(one: CertificateRecord) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from crewgate.core.x509.certificate import serial_text
    from crewgate.core.x509.identity_extension import Role
    from crewgate.ca.certificate_db import CertificateRecord, CertificateDB
    first, count = int(sys.argv[2]), int(sys.argv[3])
    with CertificateDB(Path(sys.argv[1])) as register:
        for number in range(first, first + count):
            serial = serial_text(number)
            register.add(
                CertificateRecord(serial, Role.ORCHESTRATOR, "bd", "n", bytes(16), 1, 2**40, 1, "P")
            )
            print(f"added {number}", flush=True)
            if number % 2:
                register.revoke([serial], "unspecified", 5)
                print(f"revoked {number}", flush=True)
            register.next_crl_number(0)
""")


def _start(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first), str(count)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_several_processes_write_at_once(path: Path) -> None:
    """They even make the database at once; nothing is lost, and no number is given twice."""
    processes = [_start(path, first, 40) for first in (0, 1000, 2000)]
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    with CertificateDB(path) as register:
        assert len(register.all()) == 120
        assert len(register.pending()) == 60
        assert register.next_crl_number(0) == 121


def test_what_was_answered_survives_a_kill(path: Path) -> None:
    """SIGKILL at any moment: every answer is kept, and each certificate is whole or not there."""
    for round_ in range(8):
        process = _start(path, round_ * 10_000, 9000)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3 + 7 * round_)]
        time.sleep(0.003 * round_)  # the moment of the kill is what is varied
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines(keepends=True)
        process.wait()
        process.stdout.close()
        with CertificateDB(path) as register:
            for line in lines:
                if not line.endswith("\n"):
                    continue
                what, number = line.split()
                found = register.find(serial_text(int(number)))
                assert found is not None
                assert what == "added" or found.revoked == 5
            check = register._rows("PRAGMA integrity_check")
            assert check == [("ok",)]
