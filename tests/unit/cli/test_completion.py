"""The completion scripts in the real shells, with the keys that a person presses."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from shell_session import BASH, ZSH, ShellSession

from crewgate.cli import COMMANDS, main
from crewgate.cli.completion.command_tree import commands_of

CONFIG = """
[crew.article]
[crew.article.watch]
[ crew.odd ]
[crew."bd"] # a comment
[tool."search.web"]
[tool.scan]
[tool.scan.price]
[tool."$(touch stolen)"]
[tool.`touch stolen`]
[mcp.files]
[mcp.files.tool.delete]
"""
Offers = Callable[[str], frozenset[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gw" / "my folder").mkdir(parents=True)
    (tmp_path / "gw" / "crewgate.toml").write_text(CONFIG)
    program = tmp_path / "bin" / "crewgate"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ntouch "$HOME/started"\n')
    program.chmod(0o755)
    return tmp_path


def script(shell: str) -> str:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0, result.output
    return result.output


def in_terminal(command: list[str], setup: str, folder: Path) -> Iterator[Offers]:
    """What a shell offers: what it lists after a Tab, and the words that it then has typed."""
    with ShellSession(command, setup, folder) as session:

        def offers(line: str) -> frozenset[str]:
            typed = session.tab(line)
            return typed.words | frozenset(typed.line.split())

        yield offers


# Where a person puts the script, by the shell, as the page of the commands says.
INSTALLED = {
    "bash": ".bashrc",
    "bash with bash-completion": ".local/share/bash-completion/completions/crewgate",
    "zsh": ".zfunc/_crewgate",
    "fish": ".config/fish/completions/crewgate.fish",
}
LOADER = Path("/usr/share/bash-completion/bash_completion")


@pytest.fixture(params=INSTALLED)
def offers(request: pytest.FixtureRequest, folder: Path) -> Iterator[Offers]:
    shell = request.param.partition(" ")[0]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    file = folder / INSTALLED[request.param]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script(shell))
    if shell == "fish":
        yield lambda line: in_fish(folder, line)
    elif shell == "zsh":
        yield from in_terminal(["zsh", "-f", "-i"], f"fpath+=~/.zfunc\n{ZSH}", folder)
    elif shell == request.param:
        command = ["bash", "--noprofile", "-i"]
        yield from in_terminal(command, BASH, folder)
    elif LOADER.exists():
        command = ["bash", "--norc", "--noprofile", "-i"]
        yield from in_terminal(command, f"source {LOADER}\n{BASH}", folder)
    else:
        pytest.skip("bash-completion is not installed")


def in_fish(folder: Path, line: str) -> frozenset[str]:
    """Fish prints what it would offer; the text after a tabulator is a description."""
    done = subprocess.run(
        ["fish", "-c", 'complete -C "$argv[1]"', line],
        cwd=folder,
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return frozenset(each.partition("\t")[0] for each in done.stdout.splitlines())


# What is typed, what the shell offers, and what it does not offer.
TYPED: list[tuple[str, set[str], set[str]]] = [
    ("crewgate ", {"init", "status", "ledger", "completion"}, {"report"}),
    ("crewgate aud", {"audit"}, {"init"}),
    ("crewgate -", {"--help", "--version"}, {"--json"}),
    ("crewgate ledger re", {"report", "resume", "reconcile"}, {"revoke"}),
    ("crewgate cluster keys ", {"rotate"}, {"evict"}),
    ("crewgate cluster keys rotate --", {"--revoke-old", "--json", "--config"}, {"--until"}),
    ("crewgate revoke --all", {"--all-tokens-of"}, set()),
    ("crewgate revoke --until ", {"local", "quorum", "all"}, {"init"}),
    ("crewgate cluster evict --until ", {"local", "quorum"}, {"all"}),
    ("crewgate completion ", {"bash", "zsh", "fish"}, set()),
    ("crewgate mint -c gw/crewgate.toml --crew ", {"article", "bd"}, {"article.watch", "scan"}),
    ("crewgate mint --config=gw/crewgate.toml --tools s", {"search.web", "scan"}, {"article"}),
    ("crewgate mint -c gw/missing.toml --tools ", set(), {"scan"}),
    ("crewgate mcp diff -c gw/crewgate.toml ", {"files"}, {"delete", "scan"}),
    ("crewgate check -c gw/crewgate.t", {"gw/crewgate.toml"}, set()),
    ("crewgate init gw/my", {"gw/my"}, set()),
    ("crewgate audit --role ", set(), {"init", "article", "gw/"}),
]


def test_shells_complete_what_a_person_types(offers: Offers, folder: Path) -> None:
    for line, offered, not_offered in TYPED:
        found = offers(line)
        assert {each for each in offered if not any(each in word for word in found)} == set(), line
        assert not not_offered & found, line
    # No name of the configuration was run, nor `crewgate` itself, which would take too long.
    assert not {"stolen", "started"} & {path.name for path in folder.iterdir()}


def test_every_command_is_in_the_scripts() -> None:
    paths = {each.path for each in commands_of(main, "crewgate")}
    assert {*COMMANDS, "cluster keys rotate", "config schema"} < paths
    for shell in ("bash", "zsh", "fish"):
        text = script(shell)
        assert all(path.split()[-1] in text for path in paths if path)


def test_an_option_has_one_meaning_in_the_words_of_a_shell() -> None:
    """The scripts write names, choices and paths of commands into double quotes."""
    for command in commands_of(main, "crewgate"):
        for option in command.options:
            words = [*option.names, *(option.value.choices if option.value else ())]
            assert all(word.replace("-", "").isalnum() for word in words), (command.path, words)
