"""The archive of a whole gateway: each line once, whatever happens to the export process."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from audit_archive import Archive, audit_content
from command_process import crewgate
from installation import COMMAND, Installation, wait_until
from s3_server import BUCKET, S3Server
from search_depth import deep

from crewgate.audit.checkpoints.signing_key import CheckpointKey

KILLS = deep(5)
EXPORT = """
[export.near]
format = "parquet"
folder = "{folder}"
[export.far]
format = "parquet"
bucket = "s3://{bucket}/crewgate"
url = "{url}"
credentials = "s3.keys"
keep_days = 400
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    found = S3Server()
    found.reset()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, server: S3Server) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("archive")
    site = Installation(folder, workers=2, price="0.001")
    (folder / "near").mkdir()
    with site.file.open("a") as file:
        file.write(EXPORT.format(folder=folder / "near", bucket=BUCKET, url=server.url))
    server.keys(site.folder / "s3.keys").chmod(0o600)
    server.check_requests(is_checked=True)
    try:
        site.serve()
        yield site
    finally:
        site.end()


async def _call(site: Installation, token: str, count: int) -> None:
    async with site.client() as client:
        for _ in range(count):
            headers = {"authorization": f"Bearer {token}"}
            assert (await client.post("/search", headers=headers, json={})).status_code == 200


def _objects(site: Installation) -> list[Path]:
    return sorted((site.folder.parent / "near").glob("machine=*/day=*/*.parquet"))


async def test_each_line_is_in_the_archive_once_whatever_is_killed(
    site: Installation, server: S3Server, tmp_path: Path
) -> None:
    """In a folder and in a bucket; the archive verifies, and a query finds the calls."""
    chosen = random.Random(7)
    state = site.folder / "state" / "export"
    run = site.orchestrator().start_run(credits="10", tools=["search.*"])
    for _ in range(KILLS):
        await _call(site, run.token(), 5)
        (exporter,) = site.children("export")
        # While it converts or stores: as soon as it has begun with anything.
        until = time.monotonic() + chosen.random()
        wait_until(lambda end=until: time.monotonic() > end or [*state.glob("*.draft")])  # type: ignore[misc]
        os.kill(exporter, signal.SIGKILL)
        wait_until(lambda old=exporter: site.children("export") not in ([], [old]))  # type: ignore[misc]
    await _call(site, run.token(), 5)
    assert site.stop() == 0
    folder = site.folder.parent / "near"
    near = Archive(site.folder / "state" / "audit", folder)
    content = audit_content(near.folder)
    _ship_the_rest(site, sum(map(len, content.values())))
    assert near.content() == content
    far = Archive(near.folder, tmp_path / "far")
    server.check_requests(is_checked=False)
    for name in server.names():
        path = far.root / name.removeprefix("crewgate/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(server.client.get_object(Bucket=BUCKET, Key=name)["Body"].read())
    assert far.content() == content
    (count,) = duckdb.execute(
        "SELECT count(*) FROM read_parquet($1, hive_partitioning = true, union_by_name = true) "
        "WHERE kind = 'call' AND tool = 'search.web' AND day >= DATE '2020-01-01'",
        [f"{folder}/**/*.parquet"],
    ).fetchall()[0]
    assert count == 5 * (KILLS + 1)


def _ship_the_rest(site: Installation, size: int) -> None:
    """Run the export until both archives have all, also the log of checkpoints."""
    with subprocess.Popen([*COMMAND, "export", "-c", str(site.file)]) as process:
        try:
            for name in "near", "far":
                file = site.folder / "state" / "export" / f"{name}.archive.position"

                def is_whole(file: Path = file) -> bool:
                    found = json.loads(file.read_bytes())
                    done = sum(each["offset"] for each in found["files"].values())
                    logs = sum(found["log"].values())
                    return bool(done == size and logs == _log_size(site))

                wait_until(is_whole)
        finally:
            process.terminate()


def _log_size(site: Installation) -> int:
    return sum(path.stat().st_size for path in (site.folder / "state/audit").glob("*.log"))


def _verified(*arguments: str) -> dict[str, Any]:
    done = crewgate("audit", "verify", *arguments, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if found["findings"] else 0), done.stderr
    return found


def test_both_archives_verify(site: Installation) -> None:
    """Also with the public key only, and a line that is removed is found."""
    for name in "near", "far":
        found = _verified("-c", str(site.file), "--archive", name)
        assert found["findings"] == []
        assert found["files"] > 0
    key = CheckpointKey.load(site.folder / "state").public
    folder = str(site.folder.parent / "near")
    assert _verified("--folder", folder, "--key", key)["findings"] == []
    path = _objects(site)[0]
    path.unlink()
    assert _verified("--folder", folder, "--key", key)["findings"] != []
