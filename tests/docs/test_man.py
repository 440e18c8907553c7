"""The manual pages: they leave nothing out, and two formatters read them without a complaint."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from _generate import man

from crewgate.cli import COMMANDS, main
from crewgate.cli.completion.command_tree import commands_of
from crewgate.config import reference

DATE = "2026-01-31"
COLUMNS = 80


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return man.pages(DATE)


@pytest.fixture(scope="module")
def files(pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("man")
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return sorted(folder.rglob("*.[15]"))


def shown(roff: str) -> str:
    """The text of a page in one line, without marks of fonts."""
    return " ".join(re.sub(r"\\f[BIPR]|\\&", "", roff).replace(r"\-", "-").split())


def test_every_command_has_a_page_with_its_options(pages: dict[str, str]) -> None:
    names = {"crewgate", *(f"crewgate-{name}" for name in COMMANDS)}
    assert set(pages) == {f"man1/{name}.1" for name in names} | {"man5/crewgate.toml.5"}
    for command in commands_of(main, "crewgate"):
        name = f"crewgate-{command.path.split()[0]}" if command.path else "crewgate"
        text = shown(pages[f"man1/{name}.1"])
        assert f"crewgate {command.path}".strip() in text
        if not command.commands or not command.path:
            assert all(option in text for each in command.options for option in each.names)


def test_every_key_of_the_configuration_is_on_its_page(pages: dict[str, str]) -> None:
    text = pages["man5/crewgate.toml.5"]
    for table in reference.tables():
        assert not table.heading or f"\n.SH {table.heading}\n" in text
        for key in table.keys:
            assert re.search(rf"^\.B .*{re.escape(key.name)}", text, re.MULTILINE), key.name
            assert key.name in shown(text)


def test_a_page_says_what_the_reference_says(pages: dict[str, str]) -> None:
    """Statuses, variables and signals of the page of the commands, and usage as click has it."""
    overview = shown(pages["man1/crewgate.1"])
    for text in ("CREWGATE_DUMPABLE", "SIGHUP", "fewer machines than --until asks"):
        assert text in overview
    ledger = shown(pages["man1/crewgate-ledger.1"])
    assert "The books do not add up, or the ledger and the audit differ." in ledger
    assert "crewgate run [OPTIONS] -- CMD" in shown(pages["man1/crewgate-run.1"])
    assert "Use the control API at https://HOST:PORT" in shown(pages["man1/crewgate-mint.1"])
    assert f'"{DATE}"' in pages["man1/crewgate.1"]


@pytest.mark.parametrize(
    "command",
    [
        ("mandoc", "-Tlint", "-Wwarning"),
        ("groff", "-man", "-ww", "-z", "-Tutf8"),
    ],
    ids=lambda command: str(command[0]),
)
def test_formatters_have_no_complaint(command: tuple[str, ...], files: list[Path]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


def test_pages_fit_a_terminal(files: list[Path]) -> None:
    """No line is longer than a terminal is wide."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    for path in files:
        command = ["mandoc", "-Tutf8", f"-Owidth={COLUMNS}", path]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = re.sub(r".\x08", "", done.stdout).splitlines()
        assert [line for line in lines if len(line) > COLUMNS] == []
        assert lines[2] == "NAME"
