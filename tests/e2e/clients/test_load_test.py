"""`crewgate bench` against a real gateway, with a tiny load; nothing here looks at a time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from client_gateway import ClientWorld

from crewgate.load_test.h2load import PROGRAM


def bench(
    world: ClientWorld, *words: str, path: str = "/page", **how: str
) -> subprocess.CompletedProcess[str]:
    """Two connections with two streams; `how` may have `token`, of the environment, and `input`."""
    shape = ["--connections", "2", "--streams", "2", "--seconds", "0.2"]
    command = [sys.executable, "-m", "crewgate.cli", "bench", "--against", world.url + path]
    environment = {**os.environ, "CREWGATE_TOKEN": how.get("token", "")}
    return subprocess.run(
        [*command, *shape, *words],
        input=how.get("input"),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )


def test_a_gateway_is_measured_at_each_rate(world: ClientWorld, tmp_path: Path) -> None:
    """All answers are 2xx, and neither the output nor an error has the token."""
    pytest.importorskip("matplotlib")
    file, token = tmp_path / "token", world.mint("100")
    file.write_text(token + "\n")
    plot = tmp_path / "latency.png"
    trust = ("--ca", str(world.ca), "--token-file", str(file))
    done = bench(world, *trust, "--rate", "20", "--rate", "40", "--plot", str(plot), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert token not in done.stdout
    found = json.loads(done.stdout)
    assert [step["name"] for step in found["steps"]] == [
        *("start", "maximum", "20 a second", "40 a second")
    ]
    assert [step["answers"] for step in found["steps"]][0::2] == [4, 4]
    assert [step["statuses"] for step in found["steps"]] == [
        {"200": step["answers"]} for step in found["steps"]
    ]
    assert all(step["milliseconds"]["p99"] > 0 for step in found["steps"])
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_body_is_posted_and_a_token_comes_from_stdin(world: ClientWorld, tmp_path: Path) -> None:
    """The table has a row for each step."""
    body = tmp_path / "body"
    body.write_bytes(b"x" * 1024)
    words = ("--insecure", "--token", "-", "--body", str(body), "--rate", "20")
    done = bench(world, *words, path="/upload", input=world.token)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[1:4]] == [
        *("start", "maximum", "20 a second")
    ]


def test_a_load_that_would_only_be_refused_is_not_sent(world: ClientWorld) -> None:
    """The first answer says why; a certificate that is not trusted gets no token."""
    done = bench(world, "--ca", str(world.ca), token="no.token.this")
    assert done.returncode == 2
    assert "was answered with status 401" in done.stderr
    assert "no.token.this" not in done.stdout + done.stderr
    done = bench(world, token=world.token)
    assert done.returncode == 2
    assert "--ca" in done.stderr
    assert world.token not in done.stdout + done.stderr


def test_credits_that_end_are_seen(world: ClientWorld) -> None:
    """Status 1, and the answers by their status."""
    token = world.mint("0.02")
    done = bench(world, "--insecure", "--rate", "20", token=token)
    assert done.returncode == 1
    assert " with status 4" in done.stdout


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="no h2load (Debian: nghttp2-client)")
def test_h2load_makes_the_load_if_a_person_asks_for_it(world: ClientWorld) -> None:
    """A warning says that others can read the token."""
    words = ("--ca", str(world.ca), "--client", "h2load", "--rate", "20", "--json")
    done = bench(world, *words, token=world.token)
    assert done.returncode == 0
    assert "can read it in `ps`" in done.stderr
    assert world.token not in done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["client"] == "h2load"
    assert [step["statuses"].keys() for step in found["steps"]] == [{"200"}] * 3
