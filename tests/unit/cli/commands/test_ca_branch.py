"""`crewgate ca issue --role agent`: the token says whose certificate it is."""

from pathlib import Path

import pytest
from cli_runner import Run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--role", "agent", "--out", "x"), "Missing option '--token'"),
        (("--role", "agent", "--token", "x"), "Missing option '--out'"),
        (
            ("--role", "agent", "--token", "x", "--name", "a", "--out", "x"),
            "goes only with --token",
        ),
        (("--role", "agent", "--token", "a.b.c", "--out", "x"), "do not accept this token"),
        (
            ("--role", "operator", "--name", "a", "--token", "x", "--out", "x"),
            "only for --role agent",
        ),
        (
            ("--role", "server", "--host", "x", "--token", "x", "--out", "x"),
            "goes only with --host",
        ),
    ],
)
def test_what_is_refused(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    """With one line and status 2; no file is left."""
    monkeypatch.chdir(fresh.parent / "certs")
    before = {path.name for path in Path().iterdir()}
    result = run("ca", "issue", "-c", fresh, *arguments)
    (line,) = result.stderr.splitlines()
    assert (result.exit_code, says in line) == (2, True), line
    assert {path.name for path in Path().iterdir()} == before
