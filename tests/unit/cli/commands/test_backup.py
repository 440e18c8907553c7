"""`crewgate backup` and `crewgate restore`: all of a machine, and nothing that is not whole."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from account_family import A, draw, family, line, spend
from click.testing import CliRunner, Result
from gossip_capsules import capsule
from gossip_world import WALL

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca.decommission_intents import DecommissionIntent, DecommissionIntents
from crewgate.cli import main
from crewgate.cli.backup.files import MANIFEST, BackupManifest, place_of, target_of
from crewgate.cli.backup.inventory import inventory
from crewgate.cli.commands.init import write_all
from crewgate.config.json_schema import SCHEMA_FILE
from crewgate.config.load import load
from crewgate.core.budget.ledger_mark import LedgerMark, why_not
from crewgate.core.gossip.capsules import decode
from crewgate.errors import BackupError
from crewgate.gossip.capsule_journal import CapsuleJournal
from crewgate.gossip.quorum_view_file import QuorumView
from crewgate.ledger.factory import open_ledger
from crewgate.ledger.mark_file import find_ledger, read_mark, write_mark
from crewgate.runtime.sealing_key_file import make_sealing_keys

SECRETS = {
    "ca/issuing.key", "ca/root.key", "gateway/gateway.key", "gateway/machine.key",
    "gateway/signing.key", "crews/article/signing.key", "state/sealing.keys",
}  # fmt: skip
OTHER = b"other".ljust(8)
# As the machine has them: who the others are, one of whom was evicted, and that it counts.
GOSSIP = {
    f"{OTHER.hex()}-{'0f' * 16}.member": b"certificates",
    f"{OTHER[::-1].hex()}.gone": b"1800000000",
    "ledger-marks": b"marks",
    "standing": msgspec.msgpack.encode(QuorumView([OTHER], [OTHER], counts=True)),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with others that has drawn, and remembers revocations of its own and of others."""
    folder = tmp_path_factory.mktemp("template") / "gw"
    config = load(write_all(folder, 8443))
    ledger = open_ledger(config.ledger)
    family(lambda: ledger)
    draw(ledger, A, 1, 60)
    spend(ledger, A, 1, 25)
    write_mark(config.state, LedgerMark(ledger.identity, "one", 2))
    ledger.session.close()
    (config.state / "holder").write_text("one\n")
    assert make_sealing_keys(config.sealing_keys)
    (config.state / "revocations").write_text('{"key":"00"}\n')
    log = CapsuleJournal(config.state / "gossip", print)
    log.append([capsule(1).raw, capsule(2, life=2 * limits.capsule_file_seconds).raw])
    log.close()
    for name, data in GOSSIP.items():
        (config.state / "gossip" / name).write_bytes(data)
    assert config.ca is not None
    DecommissionIntents(config.ca.folder).note(
        DecommissionIntent("article", "web-1", "unspecified", 1)
    )
    for name in ("table", "serving"):
        (config.state / name).write_bytes(b"made anew")
    (config.state / "audit").mkdir()
    (config.state / "audit" / "worker-1.jsonl").write_text("{}\n")
    return folder


@pytest.fixture
def machine(template: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(template, tmp_path / "gw"))


def run(*arguments: object) -> Result:
    """A command as typed."""
    return CliRunner().invoke(main, [str(each) for each in arguments])


def backed_up(machine: Path, *options: str) -> Path:
    """A backup beside it."""
    folder = machine.parent / "backup"
    result = run("backup", "-c", machine / "crewgate.toml", folder, *options)
    assert result.exit_code == 0, result.output
    return folder


def move_state(machine: Path, elsewhere: Path) -> None:
    """Have the configuration name a state folder that does not lie below its own."""
    (machine / "state").rename(elsewhere)
    file = machine / "crewgate.toml"
    text = file.read_text().replace('"state', f'"{elsewhere}')
    file.write_text(text.replace("sqlite:state", f"sqlite:{elsewhere}"))


def names(folder: Path) -> set[str]:
    """Every file below it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_machine_is_put_back_with_what_it_was(machine: Path) -> None:
    """Everything but keys, the audit, and what is made anew; with its modes."""
    backup, again = backed_up(machine), machine.parent / "again"
    lost = machine.rename(machine.parent / "lost")
    result = run("restore", backup, again)
    assert result.exit_code == 0, result.output
    anew = {"state/table", "state/serving", "state/audit/worker-1.jsonl", SCHEMA_FILE}
    logs = {name for name in names(lost) if name.endswith(("-wal", "-shm", ".lock"))}
    assert names(again) == names(lost) - anew - SECRETS - logs
    for name in ("crewgate.toml", "ca", "state", "state/holder", "certs/ca.pem", "state/ledger.db"):
        assert (again / name).stat().st_mode == (lost / name).stat().st_mode, name
    needed = SECRETS - {"ca/root.key"}  # nothing that runs needs the root key
    assert {name for name in SECRETS if str(again / name) in result.stderr} == needed
    assert "has no revocation and no quarantine after 20" in result.stderr
    assert "are live again: revoke them again right after the start." in result.stderr
    config = load(again / "crewgate.toml")
    ledger = open_ledger(config.ledger)
    assert (line(ledger, A).settled, line(ledger, A).leased) == (25, 35)
    ledger.session.close()
    register = CertificateDB(config.ca.register)  # type: ignore[union-attr]
    assert len(register.all()) == 1
    register.close()
    (intent,) = DecommissionIntents(config.ca.folder).open()  # type: ignore[union-attr]
    assert (intent.crew, intent.name) == ("article", "web-1")


@pytest.mark.parametrize("way", ["../../gw", "../link", "../link/../gw", "../../gw/state/.."])
def test_a_configuration_may_be_named_in_any_way(
    machine: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Through a parent or a symbolic link: its folder is what is restored, and its mark written."""
    config = machine / "crewgate.toml"
    (machine.parent / "far" / "off").mkdir(parents=True)
    (machine.parent / "far" / "link").symlink_to(machine)
    # The link's own parent is not the folder's.
    config.write_text(config.read_text().replace('"certs/', '"../gw/certs/'))
    monkeypatch.chdir(machine.parent / "far" / "off")
    backup, again = machine.parent / "backup", machine.parent / "new" / "gw"
    assert run("backup", "-c", f"{way}/crewgate.toml", backup).exit_code == 0
    manifest = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=BackupManifest)
    assert {each.path.partition("/")[0] for each in manifest.files} == {"within"}
    assert manifest.folders["within/state"] == 0o710
    machine.rename(machine.parent / "lost")
    result = run("restore", backup, again)
    assert result.exit_code == 0, result.output
    assert read_mark(load(again / "crewgate.toml").state) is not None


def test_a_backup_without_its_configuration_s_folder_restores_nothing(machine: Path) -> None:
    """As a version made it that took the folder for another; the error tells how to mend it."""
    backup, again = backed_up(machine), machine.parent / "again"
    file, apart = backup / MANIFEST, f"elsewhere{machine}"
    (backup / apart).parent.mkdir(parents=True)
    (backup / "within").rename(backup / apart)
    manifest = json.loads(file.read_text().replace("within/", f"{apart}/"))
    there = machine.parent / "there"
    there.mkdir()
    file.write_text(json.dumps({**manifest, "folder": f"{there}/../gw", "folders": {}}))
    machine.rename(machine.parent / "lost")
    result = run("restore", backup, again)
    assert (result.exit_code, again.exists(), machine.exists()) == (2, False, False)
    assert f"move {backup}/{apart} to {backup}/within, and write within/ for" in result.stderr

    (backup / apart).rename(backup / "within")
    file.write_text(file.read_text().replace(f"{apart}/", "within/"))
    result = run("restore", backup, again)
    assert result.exit_code == 0, result.output
    assert read_mark(load(again / "crewgate.toml").state) is not None


def test_an_end_that_is_completed_while_a_backup_is_made_is_in_it(
    machine: Path,
) -> None:
    """Its intent is copied before the register and the state that it will be completed in."""
    kinds = [item.path.name for item in inventory(load(machine / "crewgate.toml"))]
    intent = kinds.index("article+web-1.json")
    assert intent < min(kinds.index("issued.sqlite"), kinds.index("revocations"))


def test_a_restored_machine_catches_up_with_the_others_before_it_counts(machine: Path) -> None:
    """It may lack what it has acknowledged to them; whom and what it knew it knows."""
    backup, again = backed_up(machine), machine.parent / "again"
    assert run("restore", backup, again).exit_code == 0
    before, after = (folder / "state" / "gossip" for folder in (machine, again))
    assert len(names(after)) == len(GOSSIP) + 2
    for name in names(before) - {"standing"}:
        assert (after / name).read_bytes() == (before / name).read_bytes(), name
    log = CapsuleJournal(after, print)
    assert sorted(decode(raw).number for raw in log.replay(WALL)) == [1, 2]
    log.close()
    standing = msgspec.msgpack.decode((after / "standing").read_bytes(), type=QuorumView)
    assert standing == QuorumView([OTHER], [OTHER], counts=False)
    assert (after / "standing").stat().st_mode & 0o777 == 0o600


def test_a_restored_machine_accepts_its_own_mark(machine: Path) -> None:
    """Its ledger is as far as it says, by a person's word that outweighs what was known before."""
    backup, again = backed_up(machine), machine.parent / "again"
    assert run("restore", backup, again).exit_code == 0
    config = load(again / "crewgate.toml")
    mark = read_mark(config.state)
    assert mark is not None
    assert (mark.holder, mark.count) == ("one", 2)
    assert mark.term > 0
    assert why_not(mark, find_ledger(config.ledger)) == ""


def test_a_restore_outweighs_what_peers_know_though_the_clock_is_behind(machine: Path) -> None:
    """They refuse an older count of the same term."""
    state, later = load(machine / "crewgate.toml").state, 2**32
    mark = read_mark(state)
    assert mark is not None
    write_mark(state, msgspec.structs.replace(mark, term=later))
    backup, again = backed_up(machine), machine.parent / "again"
    assert run("restore", backup, again).exit_code == 0
    restored = read_mark(load(again / "crewgate.toml").state)
    assert restored is not None
    assert restored.term == later + 1


def test_keys_and_the_audit_are_copied_on_request(machine: Path) -> None:
    """With them, a reader can act as this machine."""
    backup, again = backed_up(machine, "--with-keys", "--with-audit"), machine.parent / "again"
    assert run("restore", backup, again).exit_code == 0
    assert names(again) >= SECRETS | {"state/audit/worker-1.jsonl"}
    assert (again / "ca" / "root.key").stat().st_mode & 0o777 == 0o600
    assert "put back" not in run("restore", backup, machine.parent / "more").stderr


def test_a_backup_is_for_its_owners_eyes(machine: Path) -> None:
    """Folders 0700, files 0600, and no private key that was not asked for."""
    (machine / "state" / "stray.txt").write_text("-----BEGIN " + "PRIVATE KEY-----\n")
    backup = backed_up(machine)
    for path in (backup, *backup.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
        assert path.is_dir() or b"PRIVATE KEY-----" not in path.read_bytes()


def test_what_was_committed_to_the_log_alone_is_in_the_backup(machine: Path) -> None:
    """Of a gateway that runs, whose file lags behind."""
    config = load(machine / "crewgate.toml")
    ledger = open_ledger(config.ledger)
    spend(ledger, A, 2, 30)
    backup = backed_up(machine)
    ledger.session.close()
    assert run("restore", backup, machine.parent / "again").exit_code == 0
    restored = open_ledger(load(machine.parent / "again" / "crewgate.toml").ledger)
    assert line(restored, A).settled == 30
    restored.session.close()


def test_a_part_of_the_machine_that_lies_elsewhere_goes_back_there(machine: Path) -> None:
    """And what stands there already is not overwritten."""
    elsewhere = machine.parent / "var"
    move_state(machine, elsewhere)
    backup, again = backed_up(machine), machine.parent / "again"
    refused = run("restore", backup, again)
    assert refused.exit_code == 2
    assert "--keep-existing" in refused.stderr
    assert not again.exists()
    elsewhere.rename(machine.parent / "lost")
    assert run("restore", backup, again).exit_code == 0
    assert (elsewhere / "holder").read_text() == "one\n"
    kept = run("restore", backup, machine.parent / "more", "--keep-existing")
    assert (kept.exit_code, f"kept: {elsewhere}/holder" in kept.stderr) == (0, True)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> dict[Path, bool]:
    """Each folder that was made, and whether the one above it was synced afterwards."""
    found: dict[Path, bool] = {}
    make, sync = os.mkdir, os.fsync

    def mkdir(path: Path, *more: int) -> None:
        make(path, *more)
        found[Path(path).absolute()] = False

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        above = Path(f"/proc/self/fd/{descriptor}").readlink()
        found.update({path: True for path in found if path.parent == above})

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_every_new_folder_is_on_the_disk_when_a_command_returns(
    machine: Path, folders: dict[Path, bool]
) -> None:
    """Also those above the one that was named, and those of what lies elsewhere."""
    elsewhere = machine.parent / "var" / "lib"
    elsewhere.parent.mkdir()
    move_state(machine, elsewhere)
    folders.clear()
    backup = machine.parent / "backups" / "one"
    assert run("backup", "-c", machine / "crewgate.toml", backup).exit_code == 0
    assert folders[backup]
    assert folders[backup.parent]
    assert all(folders.values()), folders
    folders.clear()
    elsewhere.parent.rename(machine.parent / "lost")
    assert run("restore", backup, machine.parent / "new" / "gw").exit_code == 0
    assert {elsewhere, elsewhere.parent, machine.parent / "new"} <= folders.keys()
    assert all(folders.values()), folders


def spoil_digest(backup: Path) -> None:
    (backup / "within" / "state" / "holder").write_text("two\n")


def spoil_file(backup: Path) -> None:
    (backup / "within" / "state" / "holder").unlink()


def spoil_manifest(backup: Path) -> None:
    (backup / MANIFEST).write_text("{")


def spoil_format(backup: Path) -> None:
    manifest = json.loads((backup / MANIFEST).read_text())
    (backup / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))


def spoil_place(backup: Path) -> None:
    manifest = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=BackupManifest)
    bad = msgspec.structs.replace(manifest.files[0], path="within/../../evil")
    files = [bad, *manifest.files[1:]]
    changed = msgspec.structs.replace(manifest, files=files)
    (backup / MANIFEST).write_bytes(msgspec.json.encode(changed))


def spoil_config(backup: Path) -> None:
    manifest = json.loads((backup / MANIFEST).read_text())
    files = [each for each in manifest["files"] if each["path"] != "within/crewgate.toml"]
    (backup / MANIFEST).write_text(json.dumps({**manifest, "files": files}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_digest, "changed since the backup was made"),
        (spoil_file, "lacks a file"),
        (spoil_manifest, "cannot be read"),
        (spoil_format, "format 99"),
        (spoil_place, "not the place of a file"),
        (spoil_config, "use another backup"),
        (shutil.rmtree, "is this a backup?"),
    ],
)
def test_a_backup_that_is_not_whole_restores_nothing(
    machine: Path, spoil: Callable[[Path], None], said: str
) -> None:
    """It is said what is wrong, before anything is written."""
    backup, again = backed_up(machine), machine.parent / "again"
    spoil(backup)
    result = run("restore", backup, again)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert not again.exists()


def test_nothing_is_overwritten(machine: Path) -> None:
    """Neither by a backup nor by a restore."""
    backup = backed_up(machine)
    again = run("backup", "-c", machine / "crewgate.toml", backup)
    assert (again.exit_code, "overwrites nothing" in again.stderr) == (2, True)
    result = run("restore", backup, machine)
    assert (result.exit_code, "overwrites nothing" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "place", ["", "within", "/etc/passwd", "within/../x", "other/x", "elsewhere/a/../../x"]
)
def test_a_place_leads_nowhere_else(place: str) -> None:
    """A backup is data: it names files below the folder, or by their whole path."""
    with pytest.raises(BackupError):
        target_of(place, Path("/new"))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/gw/state/holder", "within/state/holder"),
        ("/gw/../first/ca/issued.sqlite", "elsewhere/first/ca/issued.sqlite"),
        ("/var/lib/x", "elsewhere/var/lib/x"),
    ],
)
def test_a_file_is_known_by_its_place(path: str, place: str) -> None:
    """Whether it lies below the configuration's folder, and where it goes then."""
    assert place_of(Path(path), Path("/gw")) == place
    assert target_of(place, Path("/gw")) == Path(path.replace("/gw/..", ""))
