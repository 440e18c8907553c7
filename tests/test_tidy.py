"""House style as tests: sizes, docstrings, layers, words, limits. Each failure names its places."""

import ast
import functools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from crewgate import limits

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "crewgate"
LIMITS = sorted((SRC / "limits").glob("*.py"))
EXT = ROOT / "ext" / "crewgate"
FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 500  # what one part must do, case by case, is long and still one idea
FUNCTION_LINES_MAX = 70

PYTHON = sorted(
    path
    for top in ("src", "tests", "bench", "fuzz", "docs", "deploy", "examples")
    for path in (ROOT / top).rglob("*.py")
)
NATIVE = sorted(
    [path for path in EXT.glob("_*/*") if path.suffix in {".pyx", ".pxd", ".h"}]
    + [path for path in (ROOT / "fuzz").iterdir() if path.suffix in {".h", ".c"}]
)
FACES = sorted(SRC.rglob("*.pyi"))
# Split, so that this file does not hold what it looks for.
LEFT_UNDONE = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|X" + "XX|HA" + r"CK)\b")
# Words of a private language, each with the word that the field has in its place.
OLD_WORDS = {
    "told": "reported, described", "untold": "pending, unacknowledged", "tell": "send, log, notify",
    "say": "log, send, print", "said": "text, message", "hear": "receive, update, merge",
    "heard": "received", "heed": "handle, apply", "ears": "events", "voice": "log",
    "doomed": "to close, revoked", "condemn": "request stop", "barred": "revoked",
    "expel": "disconnect", "outcast": "evicted", "greet": "register", "meet": "add, register",
    "vouch": "extend freshness", "standing": "state, usage", "lend": "overdraw", "owe": "set debt",
    "forsake": "write off", "obey": "apply remote", "guest": "connection, process",
    "guests": "connections, processes", "stranger": "unauthenticated client",
    "strangers": "bad tokens, handshakes", "errand": "task, operation", "errands": "tasks",
    "door": "socket, policy", "doorman": "authorizer", "desk": "service", "office": "backend",
    "books": "ledger, queue", "tower": "services", "landing": "services", "landed": "ended",
    "ballast": "reserved space", "tidings": "notifications", "news": "changes", "clerk": "queue",
    "rung": "level", "ladder": "levels, transitions", "conduct": "profile",
    "lessor": "lease client", "holdings": "index", "lineage": "branches", "face": "prepared",
    "stock": "pool", "deed": "action", "pulse": "liveness lock", "beats": "heartbeats",
    "pardon": "reset", "homeless": "unresolved", "blame": "record failure", "tellers": "assignment",
}  # fmt: skip
MACHINE = re.compile(r"(?<![\w.])/(?:root|home|work)/[a-z]|BEGIN [A-Z ]*PRIVATE" + " KEY-")


def name(path: Path) -> str:
    """A path as a reader of the failure wants it."""
    return str(path.relative_to(ROOT))


class Seen(NamedTuple):
    """What several tests ask of a file; the tree itself is too large to be kept."""

    is_described: bool
    functions: tuple[tuple[str, int], ...]  # name, and lines after the first
    classes: tuple[str, ...]
    imports: tuple[ast.Import | ast.ImportFrom, ...]


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(), name(path))


@functools.cache
def seen(path: Path) -> Seen:
    """One walk through a file."""
    module = tree(path)
    functions, classes, imports = [], [], []
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append((node.name, (node.end_lineno or 0) - node.lineno))
        elif isinstance(node, ast.ClassDef):
            classes.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
    described = bool(ast.get_docstring(module))
    return Seen(described, tuple(functions), tuple(classes), tuple(imports))


# All other modules write files through `runtime/durable_files`, which syncs content before names.
FILE_WRITERS = {
    "_native/table_file.py": "a table is mapped; it gets its name by `rename_file`",
    "agent/journal_file.py": "many records are streamed; they get their name by `rename_file`",
    "runtime/folder_write_probe.py": "asks whether a disk takes anything",
    "audit/folder.py": "[audit] sync says when the disk has a line",
    "audit/reserved_space.py": "holds nothing but room",
    "ca/key_files.py": "a lock has no content",
    "cli/backup/files.py": "copies are synced, then all their folders at once",
    "demo/gateway_setup.py": "the demo's folder is temporary",
    "demo/gateway_process.py": "the demo's folder is temporary",
    "export/archive/archive_reader.py": "the files of a verification are temporary",
    "export/archive/stored_log.py": "the files of a verification are temporary",
    "runtime/durable_files.py": "the module itself",
}


def test_state_is_written_by_one_module() -> None:
    """A power loss leaves each file whole, because one module knows how."""
    writes = re.compile(
        r"O_CREAT|\.write_(?:text|bytes)\(|os\.(?:replace|rename|link)\(|\.rename\(|hardlink_to"
        r"|\bopen\([^)\n]*[\"'][wax]b?[\"']"
    )
    writers = {
        str(path.relative_to(SRC)) for path in SRC.rglob("*.py") if writes.search(path.read_text())
    }
    assert writers == set(FILE_WRITERS)


def test_no_file_is_long() -> None:
    """A file holds one idea, and one idea takes at most 400 lines."""
    long = {
        name(path): lines
        for path in (*PYTHON, *NATIVE, *FACES)
        if (lines := len(path.read_text().splitlines()))
        > (TEST_FILE_LINES_MAX if path.is_relative_to(ROOT / "tests") else FILE_LINES_MAX)
    }
    assert not long


def test_no_field_hides_a_name_that_fields_use() -> None:
    """From Python 3.14 on, the annotation of a field sees the other fields first (PEP 649)."""
    hidden = []
    for path in SRC.rglob("*.py"):
        for found in ast.walk(ast.parse(path.read_text())):
            if not isinstance(found, ast.ClassDef):
                continue
            fields = [line for line in found.body if isinstance(line, ast.AnnAssign)]
            used = {
                node.id
                for field in fields
                for node in ast.walk(field.annotation)
                if isinstance(node, ast.Name)
            }
            own = {field.target.id for field in fields if isinstance(field.target, ast.Name)}
            hidden += [f"{name(path)}: {found.name}.{field}" for field in own & used]
    assert not hidden


def native_functions(path: Path) -> Iterator[tuple[str, int]]:
    """(first line, number of lines) of each function of a Cython file, by indentation."""
    lines = path.read_text().splitlines()
    starts = re.compile(r"( *)(?:def|cpdef|cdef) (?!class).*\(")
    for number, line in enumerate(lines):
        start = starts.match(line)
        if not start:
            continue
        body = 0
        for after, text in enumerate(lines[number + 1 :], 1):
            bare = text.lstrip()
            if len(text) - len(bare) <= len(start[1]) and bare[:1] not in {")", ""}:
                break
            body = after if text.strip() else body
        yield line.strip(), body + 1


def test_no_function_is_long() -> None:
    """A function can be seen at once: at most 70 lines, Python and Cython."""
    long = [
        f"{name(path)}: {function}"
        for path in PYTHON
        for function, lines in seen(path).functions
        if lines >= FUNCTION_LINES_MAX
    ]
    long += [
        f"{name(path)}: {line}"
        for path in NATIVE
        if path.suffix == ".pyx"
        for line, lines in native_functions(path)
        if lines > FUNCTION_LINES_MAX
    ]
    assert not long


def test_every_source_file_says_what_it_is() -> None:
    """Each file of the package opens with a docstring, each native one with a comment or one."""
    silent = [
        name(path) for path in PYTHON if path.is_relative_to(SRC) and not seen(path).is_described
    ]
    silent += [
        name(path)
        for path in (*NATIVE, *FACES)
        if path.name != "__init__.pxd" and not path.read_text().startswith(('"""', "#", "/*"))
    ]
    assert not silent


def test_the_import_rules_hold() -> None:
    """The import rules of pyproject.toml hold: layers, a pure core, a library without a loop."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(
        [*command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


def test_nobody_imports_the_root_of_the_package() -> None:
    """`crewgate/__init__` only re-exports: whoever imported it from inside would make a cycle."""
    modules = {path.stem if path.is_file() else path.name for path in SRC.iterdir()}
    guilty = []
    for path in PYTHON:
        if not path.is_relative_to(SRC):
            continue
        for node in seen(path).imports:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name == "crewgate"]
            elif isinstance(node, ast.ImportFrom) and node.module == "crewgate":
                names = [alias.name for alias in node.names if alias.name not in modules]
            else:
                continue
            guilty += [f"{name(path)}: {imported}" for imported in names]
    assert not guilty


def test_no_name_is_of_the_old_private_language() -> None:
    """Modules, classes, functions and limits are called what the field calls such a thing."""
    guilty = []
    for path in (*PYTHON, *FACES):
        if not path.is_relative_to(SRC):
            continue
        names = [each for each, _ in seen(path).functions]
        if path.parent.name == "limits":
            names += re.findall(r"^(\w+) =", path.read_text(), re.MULTILINE)
        for each in (*path.relative_to(SRC).with_suffix("").parts, *seen(path).classes, *names):
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", each).lower().split("_")
            guilty += [f"{name(path)}: {each}: {OLD_WORDS[word]}" for word in words
                       if word in OLD_WORDS]  # fmt: skip
    assert not guilty


def test_the_core_asks_no_clock() -> None:
    """`datetime` may be calculated with in core, but the time of day arrives as an argument."""
    asking = [
        name(path)
        for path in (SRC / "core").rglob("*.py")
        if re.search(r"\.(?:now|utcnow|today)\(", path.read_text())
    ]
    assert not asking


@pytest.mark.parametrize("pattern", [LEFT_UNDONE, MACHINE], ids=["undone", "machine"])
def test_nothing_is_left_undone_and_no_machine_or_secret_shows(
    pattern: re.Pattern[str],
) -> None:
    """No promise of later work, no path of one machine, and no private key is in any file."""
    texts = [*PYTHON, *NATIVE, *FACES, *ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "Makefile"]
    found = [
        f"{name(path)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_every_native_module_that_python_uses_has_a_face() -> None:
    """A `.pyi` for each native module imported from Python, and none without its source."""
    used, packages = set(), {folder.name for folder in EXT.glob("_*/")}
    for path in PYTHON:
        for node in seen(path).imports:
            if isinstance(node, ast.ImportFrom) and node.module:
                if node.module in {f"crewgate.{package}" for package in packages}:
                    package = node.module.rpartition(".")[2]
                    used |= {(package, alias.name) for alias in node.names}
                elif node.module.split(".")[1:2] and node.module.split(".")[1] in packages:
                    used.add(tuple(node.module.split(".")[1:3]))
    native = {(path.parent.name, path.stem) for path in EXT.glob("_*/*.pyx")}
    faces = {(path.parent.name, path.stem) for path in FACES if path.parent.name in packages}
    assert used & native <= faces
    assert faces <= native


def test_no_struct_of_the_table_is_read_through_bytes() -> None:
    """An object of Python's is not aligned as a struct is: its bytes are copied into one."""
    cast = re.compile(r"<(?:const )?cg_\w+ \*> *<(?:const )?(?:unsigned )?(?:char|uint8_t) \*>")
    assert cast.search("<const cg_header *><const char *>header")
    assert not [name(path) for path in NATIVE if cast.search(path.read_text())]


def test_no_index_counts_from_the_end() -> None:
    """Native code is compiled without `wraparound`: a negative index reads before the list."""
    negative = re.compile(r"[\w)\]] ?\[ *-")
    assert negative.search("last = calls[-1]")
    found = [
        f"{name(path)}:{number}"
        for path in NATIVE
        if path.suffix == ".pyx"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if negative.search(line.partition("#")[0])
    ]
    assert not found


# Files that are written elsewhere than by `durable_files`, each with what it does of its own.
OWN_WRITING = {
    "src/crewgate/_native/table_file.py": {"os.open", "os.fsync"},  # allocated in full; the lock
    "src/crewgate/agent/journal_file.py": {"os.open", "os.fsync"},  # a stream of lines
    "src/crewgate/agent/state.py": {"replace"},  # a configuration, no file
    "src/crewgate/audit/reserved_space.py": {"os.open"},  # holds space, and has no name
    "src/crewgate/runtime/folder_write_probe.py": {
        "os.open",
        "os.fdatasync",
    },  # a probe without a name
    "src/crewgate/audit/folder.py": {"os.open"},  # locked before its first line
    "src/crewgate/audit/checkpoints/keeper.py": {"os.fdatasync"},  # of lines that others wrote
    "src/crewgate/audit/syncer.py": {"os.fdatasync"},  # many lines, then one sync in a thread
    "src/crewgate/cli/backup/files.py": {"os.open", "os.fsync"},  # copied in pieces, however large
    "src/crewgate/issuer/journal/mint_journal.py": {"os.fsync"},  # cuts a torn line off
    # Temporary files of a verification.
    "src/crewgate/export/archive/archive_reader.py": {"open", "write_bytes"},
    "src/crewgate/export/archive/stored_log.py": {"open"},
    "src/crewgate/sidecar/drop_privileges_exec.py": {"open"},  # a setting of the kernel, in /proc
    "src/crewgate/gossip/capsule_journal.py": {"os.fsync"},  # one sync of many appends, in a thread
}
WRITING = {"write_text", "write_bytes", "touch", "rename", "hardlink_to"}
MAKING = re.compile(r"os\.O_(?:WRONLY|APPEND|TRUNC|EXCL)\b")
WRITING_OF_OS = {"replace", "rename", "renames", "link", "fsync", "fdatasync", "sync"}


def writing(call: ast.Call, flags: str = "") -> str:
    """What a call does to files, by the look of it; "" for one that does nothing.

    `flags` is how the file puts together what it gives to os.open.
    """
    function, name, owner = call.func, "", ""
    if isinstance(function, ast.Name):
        name = function.id
    elif isinstance(function, ast.Attribute):
        name = function.attr
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
    text = ast.unparse(call)
    if owner == "shutil" or (owner == "os" and name in WRITING_OF_OS):
        return f"{owner}.{name}"
    if owner == "os" and name == "open":  # a lock file is opened with O_RDWR, and never written
        return "os.open" if MAKING.search(text + flags) else ""
    if name == "open" and re.search(r"""[(,=] ?['"][rbt]*[wax+]""", text):
        return "open"
    # str.replace has two arguments; Path.replace has one.
    if name == "replace" and len(call.args) == 1 and not call.keywords:
        return "replace"
    return name if name in WRITING else ""


def test_files_are_written_in_one_place() -> None:
    """What is renamed without a sync is lost with the power; the demo's folder may be."""
    found: dict[str, set[str]] = {}
    for path in PYTHON:
        module = path.is_relative_to(SRC) and path.relative_to(SRC)
        if not module or module.parts[0] == "demo" or module.name == "durable_files.py":
            continue
        flags = "".join(re.findall(r"^ *(?:flags|mode) = .*", path.read_text(), re.MULTILINE))
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and (what := writing(node, flags)):
                found.setdefault(name(path), set()).add(what)
    assert found == OWN_WRITING


@pytest.mark.parametrize(
    "code",
    [
        "path.write_text('a')", "beside.replace(path)", "open(p, 'w')", "path.open('ab')",
        "os.replace(a, b)", "os.open(p, os.O_RDWR | os.O_TRUNC)", "shutil.move(a, b)",
        "path.open(mode='x')",
    ],
)  # fmt: skip
def test_a_file_that_is_written_is_seen(code: str) -> None:
    """The test above can fail."""
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert writing(call)


def test_every_limit_is_held_somewhere() -> None:
    """A bound that no code reads is no bound."""
    code = {
        word
        for path in (*PYTHON, *NATIVE)
        if path not in LIMITS and not path.is_relative_to(ROOT / "tests")
        for word in re.findall(r"\w+", path.read_text())
    }
    own = Counter(word for path in LIMITS for word in re.findall(r"\w+", path.read_text()))
    unused = [
        bound
        for bound, value in vars(limits).items()
        if not bound.startswith("_")
        and not isinstance(value, ModuleType)
        and bound not in code
        and own[bound] == 1
    ]
    assert not unused


def test_every_limit_has_its_reason() -> None:
    """A number stands beside the precedent or the sum that it comes from."""
    lines = [line for path in LIMITS for line in path.read_text().splitlines()]
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"[a-z_]+ = ", line) and "#" not in line and not before.startswith("#")
    ]
    assert not bare, "\n".join(bare)


def test_each_limit_is_defined_once() -> None:
    """The files of `limits` are one name space: the later of two would hold for both."""
    names = Counter(
        name for path in LIMITS for name in re.findall(r"^(\w+) = ", path.read_text(), re.MULTILINE)
    )
    assert [name for name, count in names.items() if count > 1] == []
