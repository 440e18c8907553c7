"""curl, as people script it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from client_gateway import EVENTS, PAGE, UPLOAD, ClientWorld, received

pytestmark = [
    pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed"),
    pytest.mark.parametrize("version", ["--http1.1", "--http2"]),
]


def curl(world: ClientWorld, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess:
    """A run of curl with the token, which stands in a file as it should."""
    command = ["curl", "-sS", "--max-time", "30", "--noproxy", "*", "--cacert", str(world.ca)]
    header = world.premises.folder / "header"
    header.write_text(f"authorization: Bearer {world.token}\n")
    command += ["-H", f"@{header}"]
    return subprocess.run([*command, *arguments], input=data, capture_output=True, check=False)


def test_page(world: ClientWorld, version: str) -> None:
    """A page comes as it is, and compressed where curl asks for that."""
    done = curl(world, version, "-w", "%{http_version}", f"{world.url}/page")
    assert done.stdout == PAGE + (b"2" if version == "--http2" else b"1.1"), done.stderr
    done = curl(world, version, "--compressed", "-w", "%{size_download}", f"{world.url}/page")
    assert done.stdout.startswith(PAGE)
    assert int(done.stdout.removeprefix(PAGE)) < len(PAGE) / 10


def test_head(world: ClientWorld, version: str) -> None:
    """HEAD has the fields of GET and nothing behind them."""
    done = curl(world, version, "-I", f"{world.url}/page")
    assert b'etag: "1"' in done.stdout.lower()
    assert b"content-length: %d" % len(PAGE) in done.stdout.lower()
    assert not done.returncode


def test_upload(world: ClientWorld, version: str, tmp_path: Path) -> None:
    """A file, a file that waits for 100 Continue, and a pipe of unknown length arrive whole."""
    file = tmp_path / "upload"
    file.write_bytes(UPLOAD)
    url = f"{world.url}/upload"
    for arguments in (
        ("--data-binary", f"@{file}"),
        ("--data-binary", f"@{file}", "-H", "Expect: 100-continue", "-v"),
        ("-X", "POST", "-T", "-"),
    ):
        done = curl(world, version, *arguments, url, data=UPLOAD)
        assert json.loads(done.stdout) == received(UPLOAD), (arguments, done.stderr)
        if "-v" in arguments:
            assert b" 100 " in done.stderr


def test_events(world: ClientWorld, version: str) -> None:
    """A stream comes to its end."""
    assert curl(world, version, "-N", f"{world.url}/events").stdout == b"".join(EVENTS)


def test_several_on_one_connection(world: ClientWorld, version: str) -> None:
    """Ten pages, at once where the protocol can, over one connection."""
    urls = [f"{world.url}/page?{number}" for number in range(10)]
    outputs = [argument for _ in urls for argument in ("-o", "/dev/null")]
    done = curl(
        world, version, "-Z", "--parallel-max", "10", "-w", "%{http_code} ", *outputs, *urls
    )
    assert done.stdout.split() == [b"200"] * 10


def test_refusal(world: ClientWorld, version: str) -> None:
    """What is refused comes as curl's own kind of failure."""
    done = curl(world, version, "--fail-with-body", "-X", "DELETE", f"{world.url}/page")
    assert done.returncode == 22
    assert json.loads(done.stdout)["status"] == 404
