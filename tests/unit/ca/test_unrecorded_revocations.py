"""A certificate can be ended though the register's disk takes nothing: at once, then on disk."""

import json
from pathlib import Path

import pytest
from certificates_written import NOW, entry
from full_register import full_books
from small_disk import on_a_small_disk, why_no_small_disk

from crewgate.ca.certificate_db import CertificateDB
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import CAError

FULL = """
import sys, json
from pathlib import Path
from certificates_written import NOW, entry
from small_disk import fill
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import CAError
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunStore
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca import unrecorded_revocations
from crewgate.runtime.reserved_file import ReservedFile

folder = Path(sys.argv[1])
path = folder / "issued.sqlite"
keep = ReservedFile(folder / "unwritten", 65536)
unrecorded_revocations.unwritten_of(path).keep_in(keep)
with CertificateDB(path, is_new=True) as register:
    register.add(entry(1)); register.add(entry(2)); register.add(entry(3, "bd-2"))
OrchestratorRunStore(path).close()
filled = fill(folder)
said = {}
with CertificateDB(path) as register, CertificateDB(path) as other:
    said["one"] = [each.serial for each in register.revoke([serial_text(1)], "unspecified", NOW)]
    said["holder"] = [each.serial for each in register.revoke_holder("bd", "bd-2", "x", NOW)]
    said["trouble"] = other.unwritten_reason
    after = unrecorded_revocations.UnrecordedRevocations()
    after.keep_in(ReservedFile(folder / "unwritten", 65536))
    said["kept"] = sorted(serial for serial, _ in after.items())
    said["status"] = [other.find(serial_text(n)).status(NOW) for n in (1, 2, 3)]
    said["dead"] = sorted(serial for serial, _, _ in other.dead(NOW))
    said["pending"] = sorted(each.serial for each in other.pending())
    register.announced([serial_text(1)])
    said["pending after"] = sorted(each.serial for each in other.pending())
    said["numbers"] = [other.next_crl_number(NOW) - NOW for _ in range(2)]
    with OrchestratorRunStore(path) as lives:
        said["standing"] = lives.running("bd", "bd-1")
    try:
        register.add(entry(4))
    except CAError as error:
        said["add"] = str(error)
    filled.unlink()
    register.flush()
    said["later"] = other.unwritten_reason
    said["number"] = other.next_crl_number(NOW) - NOW
with CertificateDB(path) as register:
    said["on disk"] = [register.find(serial_text(n)).status(NOW) for n in (1, 2, 3)]
    said["untold"] = [each.serial for each in register.pending()]
print(json.dumps(said))
"""


@pytest.mark.skipif(bool(why_no_small_disk()), reason=why_no_small_disk())
def test_on_a_full_disk_revocations_are_in_force_and_written_when_there_is_room(
    tmp_path: Path,
) -> None:
    """Also by a process that comes when there is no room for what SQLite opens.

    The next process has them from a file on the same disk, whose room was taken beforehand.
    """
    answer = on_a_small_disk(tmp_path, FULL)
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    one, three = serial_text(1), serial_text(3)
    assert (said["one"], said["holder"]) == ([one], [three])
    assert "issued.sqlite: the CA's register cannot be used" in said["trouble"]
    assert "a restart" not in said["trouble"]
    assert said["kept"] == [one, three]
    assert said["status"] == said["on disk"] == ["revoked", "valid", "revoked"]
    assert said["dead"] == said["pending"] == [one, three]
    assert (said["pending after"], said["untold"]) == ([three], [three])
    assert "issued.sqlite" in said["add"]
    assert (said["later"], said["standing"]) == ("", None)
    first, second = said["numbers"]
    assert 0 <= first < second < said["number"]


def test_what_was_not_written_is_not_renewed_and_not_revoked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes after it, and the first word on when and why stands."""
    with CertificateDB(tmp_path / "issued.sqlite", is_new=True) as register:
        register.add(entry(1))
        with full_books(monkeypatch):
            register.revoke([serial_text(1)], "superseded", NOW)
            assert register.revoke([serial_text(1)], "unspecified", NOW + 1) == []
        with pytest.raises(CAError, match="is revoked and cannot be renewed"):
            register.add(entry(2), after=serial_text(1))
        assert register.of("bd", "bd-1", NOW) == []
        register.flush()
        found = register.find(serial_text(1))
        assert found is not None
        assert (found.revoked, found.reason, register.unwritten_reason) == (NOW, "superseded", "")


def test_what_cannot_be_flushed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so."""
    with CertificateDB(tmp_path / "issued.sqlite", is_new=True) as register:
        register.add(entry(1))
        with full_books(monkeypatch):
            register.revoke([serial_text(1)], "superseded", NOW)
            with pytest.raises(CAError, match="disk is full"):
                register.flush()
            assert "disk is full" in register.unwritten_reason
        register.flush()
