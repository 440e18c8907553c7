import subprocess
import sys
from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.cli import COMMANDS


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bogus"], "crewgate: No such command 'bogus'; see crewgate --help"),
        (["init"], "crewgate: Missing argument 'DIR'; see crewgate init --help"),
        (["init", "--port", "0", "x"], "crewgate: Invalid value for '--port'"),
        (["mint", "--colour"], "crewgate: No such option"),
        (["mint", "--crew", "a"], "crewgate: Missing option"),
        (["check", "-c", "nowhere.toml"], "nowhere.toml: cannot be read (No such file"),
        (
            ["revoke", "--every-token-of", "bd"],
            "crewgate: '--every-token-of' is called '--all-tokens-of' now; see crewgate revoke",
        ),
        (["revoke", "--every-token-of=bd"], "is called '--all-tokens-of' now"),
        (["cluster", "forget", "edge-2"], "'forget' is called 'evict' now; see crewgate cluster"),
        (["cluster", "keys", "rotate", "--void"], "'--void' is called '--revoke-old' now"),
        (["tree", "--void"], "No such option"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run: Run, arguments: list[str], told: str) -> None:
    """Nothing on standard output, one line on standard error, no traceback."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_every_problem_of_a_file_has_the_same_beginning(run: Run, tmp_path: Path) -> None:
    """The program's name and the file as it was typed."""
    file = tmp_path / "crewgate.toml"
    file.write_text("workers = -1\nzzz = 1\n")
    result = run("check", "-c", file)
    lines = result.stderr.splitlines()
    assert (result.exit_code, len(lines)) == (2, 3)
    assert all(line.startswith(f"crewgate: {file}: ") for line in lines)


def test_crewgate_alone_prints_its_help(run: Run) -> None:
    """A newcomer who types the bare name sees every command."""
    result = run()
    assert all(name in result.output for name in COMMANDS)


@pytest.mark.parametrize("group", ["ca", "cluster", "ledger"])
def test_a_groups_help_cuts_no_sentence_short(run: Run, group: str) -> None:
    """What a command does is said to its end, over as many lines as that takes."""
    result = run(group, "--help")
    assert result.exit_code == 0
    assert "..." not in result.output.partition("Commands:")[2]


def test_help_imports_no_command() -> None:
    """`crewgate --help` is fast: beside click and the library itself nothing is imported."""
    program = (
        "import sys\n"
        "from crewgate.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'trio', 'cryptography', 'jwt', 'duckdb', 'httpx', 'ngh2', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
