"""`crewgate audit verify`, as typed."""

import json
import os
from pathlib import Path
from socket import gethostname

import pytest
import trio
from click.testing import CliRunner, Result

from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.keeper import CheckpointKeeper
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.cli import main
from crewgate.config.load import load
from crewgate.export.archive.archiver import Archiver
from crewgate.metrics.process_metrics import ProcessMetrics


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert CliRunner().invoke(main, ["init", str(folder / "gw")]).exit_code == 0
    return folder / "gw" / "crewgate.toml"


@pytest.fixture
def signed(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """The configuration, and one audit file that its machine has signed."""
    text = made.read_text().replace('state = "state"', f'state = "{tmp_path}"')
    config_path = made.with_name(f"{tmp_path.name}.toml")
    config_path.write_text(text.replace('folder = "state/audit"', f'folder = "{tmp_path}/audit"'))
    config = load(config_path)
    descriptor, path = audit_folder.create(config.audit.folder, "worker-0", 10**18)
    os.write(descriptor, b'{"number":1}\n{"number":2}\n')
    key = CheckpointKey.load_or_make(config.state)
    keeper = CheckpointKeeper(config.audit.folder, config.state, key, config.name)
    keeper.take()
    keeper.close()
    os.write(descriptor, b'{"number":3}\n')
    os.close(descriptor)
    return config_path, path


def verify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["audit", "verify", *map(str, arguments)])


def test_an_honest_audit_is_said_to_be_whole(signed: tuple[Path, Path]) -> None:
    config_path, path = signed
    found = verify("-c", config_path)
    assert found.exit_code == 0
    text = " ".join(found.stdout.split())
    assert "checkpoints 1 checkpoint from number 1 on" in text
    assert "as signed 1 file with 2 lines, 26 bytes" in text
    assert f"not signed 1 line (13 bytes) at the end of {path.name}: newer" in text
    assert text.endswith("result nothing was changed, removed or inserted")


def test_a_changed_line_is_named_with_status_1(signed: tuple[Path, Path]) -> None:
    config_path, path = signed
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":9'))
    found = verify("-c", config_path)
    assert found.exit_code == 1
    text = " ".join(found.stdout.split())
    assert f"CHANGED {path.name}: bytes 0 to 26 are not as they were signed by 2" in text
    assert "result NOT as it was signed: 1 finding; keep a copy of the folder" in text
    document = json.loads(verify("-c", config_path, "--json").stdout)
    (finding,) = document["findings"]
    assert (finding["kind"], finding["begin"], finding["end"]) == ("changed", 0, 26)


def test_a_copy_is_verified_with_the_public_key(signed: tuple[Path, Path]) -> None:
    config_path, path = signed
    (key,) = json.loads(verify("-c", config_path, "--json").stdout)["keys"]
    assert verify("--folder", path.parent, "--key", key).exit_code == 0
    other = CheckpointKey(bytes(32)).public
    assert verify("--folder", path.parent, "--key", other, "--key", key).exit_code == 0
    found = verify("--folder", path.parent, "--key", other)
    assert found.exit_code == 1
    text = " ".join(found.stdout.split())
    assert f"signed by another key, {key}; compare it with the key you noted" in text


@pytest.fixture
def shipped(signed: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The configuration with an archive in a folder, and its one object with lines."""
    config_path, _ = signed
    (tmp_path / "archive").mkdir()
    with config_path.open("a") as file:
        file.write(f'[export.old]\nformat = "parquet"\nfolder = "{tmp_path}/archive"\n')
    config = load(config_path)
    (receiver,) = config.exports
    state = config.state / "export"
    metrics = ProcessMetrics.unshared()
    archiver = Archiver(receiver, config.name or gethostname(), config.audit.folder, state, metrics)

    async def run() -> None:
        ending = trio.Event()
        ending.set()
        await archiver.run(ending)

    trio.run(run)
    (path,) = (tmp_path / "archive").rglob("*.parquet")
    return config_path, path


def test_an_archive_is_verified_by_its_table_or_its_folder(
    shipped: tuple[Path, Path], tmp_path: Path
) -> None:
    config_path, path = shipped
    found = verify("-c", config_path, "--archive", "old")
    assert found.exit_code == 0, found.output
    assert "as signed 1 file with 2 lines, 26 bytes" in " ".join(found.stdout.split())
    (key,) = json.loads(verify("-c", config_path, "--archive", "old", "--json").stdout)["keys"]
    for folder in tmp_path / "archive", path.parents[1]:
        assert verify("--folder", folder, "--key", key).exit_code == 0
    path.unlink()
    for question in (("-c", config_path, "--archive", "old"), ("--folder", path.parents[2])):
        found = verify(*question, "--key", key)
        assert found.exit_code == 1
        assert "REMOVED" in found.stdout


def test_names_that_are_no_text_are_shown_and_drive_no_terminal(
    shipped: tuple[Path, Path], tmp_path: Path
) -> None:
    """Whoever can write to an archive chooses them."""
    config_path, path = shipped
    path.with_name("x\udcff\x1b[2J.parquet").touch()
    found = verify("-c", config_path, "--archive", "old", "--json")
    assert found.exit_code == 1
    (finding,) = json.loads(found.stdout)["findings"]
    assert (finding["kind"], "\x1b[2J" in finding["file"]) == ("inserted", True)
    assert "x\\udcff\\x1b[2J.parquet" in verify("-c", config_path, "--archive", "old").stdout
    (tmp_path / "archive" / "machine=%1B%5B2J").mkdir()
    found = CliRunner().invoke(
        main, ["audit", "verify", "--folder", str(tmp_path / "archive"), "--key", "A" * 43],
        color=True,
    )  # fmt: skip
    assert "the archive has \\x1b[2J, " in found.stderr


def test_which_archive_is_meant_must_be_clear(shipped: tuple[Path, Path], tmp_path: Path) -> None:
    config_path, path = shipped
    key = CheckpointKey(bytes(32)).public
    found = verify("-c", config_path, "--archive", "new")
    assert 'no [export.new] has format = "parquet"; known: old' in found.stderr
    found = verify("-c", config_path, "--archive", "old", "--machine", "gw-2")
    assert "--machine needs --key" in found.stderr
    assert "give either" in verify("--folder", tmp_path, "--archive", "old").stderr
    (path.parents[2] / "machine=gw-2").mkdir()
    found = verify("--folder", path.parents[2], "--key", key)
    assert "--machine is missing; the archive has" in found.stderr
    own = gethostname()
    for place in path.parents[2], path.parents[1]:
        found = verify("--folder", place, "--key", key, "--machine", "gw-3\x1b")
        assert found.exit_code == 2
        assert "the archive has no machine gw-3\\x1b; it has " in found.stderr
    assert f"; it has {own};" in found.stderr
    found = verify("-c", config_path, "--archive", "old", "--key", key, "--machine", "gw-3")
    assert "the archive has no machine gw-3; it has " in found.stderr
    found = verify("--folder", path.parents[2], "--key", key, "--machine", "gw-2")
    assert found.exit_code == 1
    assert "not signed" in found.stdout


def test_an_archive_that_is_not_mounted_is_said(shipped: tuple[Path, Path], tmp_path: Path) -> None:
    config_path, _ = shipped
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    found = verify("-c", config_path, "--archive", "old")
    assert found.exit_code == 2
    why = f"{tmp_path}/archive: No such file or directory"
    assert f"{why}; see that its file system is mounted, or correct `folder`" in found.stderr


def test_what_is_missing_is_said(signed: tuple[Path, Path], tmp_path: Path) -> None:
    config_path, path = signed
    assert "--folder needs --key" in verify("--folder", path.parent).stderr
    assert "--key has 43 characters" in verify("-c", config_path, "--key", "x").stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    found = verify("--folder", empty, "--key", CheckpointKey(bytes(32)).public)
    assert found.exit_code == 1
    assert found.stdout.startswith("not signed   no checkpoint is in")
    (tmp_path / "audit.key").unlink()
    assert "cannot read the key of the audit" in verify("-c", config_path).stderr
