"""The files of the live page: their size, their types, and what no line of them may do."""

import json
import re
from pathlib import Path

import pytest
from npm_programs import needs_npm, program, run_node

STATIC = Path(__file__).parents[3] / "src" / "crewgate" / "ui" / "static"
MODULES = sorted(STATIC.glob("*.js"))
STYLES = sorted(STATIC.glob("*.css"))
LINES_MAX = 400
FUNCTION_LINES_MAX = 70
DENSE = {"replay_view.js"}  # each exported replay has it, so its lines are few
# What would run a text as a program or as a page, or leave the origin.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    r"|\beval\(|new Function|javascript:|setTimeout\([\"'`]|localStorage|document\.cookie"
    r"|import\(|XMLHttpRequest|EventSource|WebSocket|sendBeacon|postMessage\([^n]"
)
OPTIONS = {
    "allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "noImplicitAny": False,
    "useUnknownInCatchVariables": False, "noUnusedLocals": True, "noUnusedParameters": True,
    "target": "es2023", "module": "esnext", "moduleResolution": "bundler",
    "lib": ["es2023", "dom", "dom.iterable", "dom.asynciterable"], "types": [],
}  # fmt: skip


def test_the_page_is_in_the_package() -> None:
    assert MODULES
    assert STYLES


@pytest.mark.parametrize("path", [*MODULES, *STYLES], ids=lambda path: path.name)
def test_each_file_says_what_it_is_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(("/** ", "/**\n", "/* "))
    assert len(text.splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_module_runs_a_text(path: Path) -> None:
    """Texts of agents, tools and people reach the page as text nodes only."""
    code = re.sub(r"/\*\*.*?\*/", "", path.read_text(), flags=re.DOTALL)  # types import modules
    assert FORBIDDEN.findall(code) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_function_is_long(path: Path) -> None:
    """By indentation: a function or a method ends with a brace below its first letter."""
    start = re.compile(r"^( *)(?:export )?(?:async )?(?:function\*? )?[\w*]+\(.*\) \{$")
    lines = path.read_text().splitlines()
    long = []
    for at, line in enumerate(lines):
        found = start.match(line)
        if not found or line.lstrip().startswith(("if ", "for ", "while ", "switch ")):
            continue
        end = next((n for n, each in enumerate(lines[at:]) if each == f"{found[1]}}}"), 0)
        if end > FUNCTION_LINES_MAX:
            long.append(line)
    assert not long


def test_the_page_has_nothing_inline_and_nothing_foreign() -> None:
    html = (STATIC / "index.html").read_text()
    assert not re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?:", html)
    for address in re.findall(r"(?:src|href)=\"([^\"]+)\"", html):
        assert address.startswith("#") or (STATIC / address.removeprefix("/static/")).is_file()
    for path in STYLES:
        assert not re.findall(r"url\(|@import|https?:", path.read_text())


def test_modules_import_modules_that_exist() -> None:
    for path in MODULES:
        for name in re.findall(r" from \"(.+)\";", path.read_text()):
            assert name.startswith("./"), path
            assert (STATIC / name).is_file(), f"{path.name}: {name}"


@needs_npm
def test_the_modules_have_one_format(tmp_path: Path) -> None:
    """That of Prettier with lines of 100 characters, as Python files have.

    `build/npm/node_modules/.bin/prettier --print-width 100 --write FILE` formats a file.
    """
    options = ("--print-width", "100", "--check")
    own = [path for path in MODULES if path.name not in DENSE]
    done = run_node(program("prettier"), *options, *own, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@needs_npm
def test_the_types_of_the_page_are_right(tmp_path: Path) -> None:
    """TypeScript finds no mistake in the modules and their comments about types."""
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({"compilerOptions": OPTIONS, "include": [f"{STATIC}/*.js"]}))
    done = run_node(program("tsc"), "-p", config, folder=tmp_path)
    assert done.returncode == 0, done.stdout


@needs_npm
def test_a_mistake_of_types_is_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.js").write_text("/** @type {string} */\nexport const text = 1;\n")
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({"compilerOptions": OPTIONS, "include": ["wrong.js"]}))
    assert run_node(program("tsc"), "-p", config, folder=tmp_path).returncode != 0
