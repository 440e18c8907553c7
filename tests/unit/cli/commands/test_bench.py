"""What `crewgate bench` refuses before it sends anything; tests/e2e/clients has the loads."""

import sys
from pathlib import Path

import pytest
from cli_runner import Run

AGAINST = ("bench", "--against", "https://127.0.0.1:1/a")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--header", "no colon"), "write NAME:VALUE"),
        (("--header", "a:é"), "write NAME:VALUE"),
        (("--method", "G T"), "not a method"),
        (("--token", "a b", "--token-file", "file"), "exclude each other"),
        (("--rate", "0"), "--rate"),
        (("--rate", "1", *("--rate", "1") * 32), "more than 32 steps"),
    ],
)
def test_a_bad_argument_ends_before_a_connection(
    run: Run, words: tuple[str, ...], reason: str
) -> None:
    """One line says what is wrong, with status 2."""
    result = run(*AGAINST, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_token_that_no_header_takes_is_not_shown(run: Run, tmp_path: Path) -> None:
    """The error names the field."""
    file = tmp_path / "token"
    file.write_text("SECRET\x01SECRET")
    result = run(*AGAINST, "--token-file", str(file))
    assert result.exit_code == 2
    assert "authorization" in result.stderr
    assert "SECRET" not in result.output


def test_a_gateway_that_is_not_there_is_named(run: Run) -> None:
    """With its address."""
    result = run(*AGAINST)
    assert result.exit_code == 2
    assert "127.0.0.1:1: no connection" in result.stderr


def test_a_plot_without_matplotlib_has_its_remedy(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the load, which would be for nothing."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    result = run(*AGAINST, "--plot", "a.png")
    assert result.exit_code == 2
    assert "pip install 'crewgate[bench]'" in result.stderr
