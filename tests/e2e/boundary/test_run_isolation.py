"""What stands between an orchestrator's key and a program beside it: users, and what is closed."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, installed, wait_until
from orchestrators import CREW, Running, curl, running
from prying import DROP, NOBODY, OTHERS, WITHOUT_SOCKET, interpreter_of_others, prying

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root starts processes of other users"),
    pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv (util-linux) changes users"),
]
PARENT = 'parent_of() { cut -d" " -f4 /proc/$1/stat; }\n'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("walls"), price="0.01", workers=1) as installation:
        yield installation


@pytest.fixture
def pry() -> Iterator[Path]:
    with prying() as path:
        yield path


def _found(orchestrator: Running) -> dict[str, str]:
    lines = (line.split(": ") for line in orchestrator.printed.splitlines() if ": " in line)
    return dict(line for line in lines if len(line) == 2)


def test_a_child_of_cmd_gets_nothing_of_the_supervisor(gateway: Installation, pry: Path) -> None:
    """CMD has a uid of its own: it and its children may use the door, and nothing else is open."""
    child = f'{PARENT}sh {pry} "$(parent_of $$)"; id -u; id -G; grep NoNewPrivs /proc/self/status'
    with running(gateway, "own-uid", "sh", "-c", f"sh -c '{child}'; {child}") as orchestrator:
        assert orchestrator.wait() == 0, orchestrator.said
    lines = orchestrator.printed.splitlines()
    of_child, of_cmd = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    # Of its own parent, which is CMD, a child of the same user may see everything: no key is there.
    # It shows that the attempts are good ones.
    assert {f"{what}: OPEN" for what in WITHOUT_SOCKET - {"trace"}} <= set(of_child)
    assert ("trace: OPEN" in of_child) is (os.uname().machine == "x86_64")
    assert "socket: OPEN" in of_child
    assert set(of_cmd[:8]) == {f"{what}: closed" for what in WITHOUT_SOCKET}
    assert "socket: OPEN" in of_cmd
    uid = int(of_cmd[9])
    assert 68_000 <= uid <= 99_999
    assert of_cmd[10] == str(uid)
    assert of_cmd[11].split() == ["NoNewPrivs:", "1"]


def test_neither_environment_nor_memory_nor_descriptors_of_cmd_hold_the_key(
    gateway: Installation,
) -> None:
    """CMD has three descriptors, no variable with a secret, and no PEM anywhere in its memory."""
    with running(gateway, "clean", "sleep", "600") as orchestrator:
        proc = Path(f"/proc/{orchestrator.child}")
        wait_until(lambda: (proc / "comm").read_text() == "sleep\n")
        # While it starts, it also has the file of a library open.
        wait_until(lambda: {each.name for each in (proc / "fd").iterdir()} == {"0", "1", "2"})
        environment = (proc / "environ").read_bytes()
        assert b"PRIVATE" not in environment
        names = {each.split(b"=")[0] for each in environment.split(b"\0")}
        assert {b"CREWGATE_SOCKET", b"CREWGATE_GATEWAY", b"CREWGATE_INSTANCE"} <= names
        for line in (proc / "maps").read_text().splitlines():
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if "[heap]" in line or "[stack]" in line:
                with (proc / "mem").open("rb") as memory:
                    memory.seek(first)
                    assert b"PRIVATE KEY" not in memory.read(last - first)
        door = Path(
            next(e for e in environment.split(b"\0") if e.startswith(b"CREWGATE_SOCKET="))
            .decode()
            .partition("=")[2]
        )
        assert door.parent.stat().st_mode & 0o777 == 0o700
        assert door.stat().st_mode & 0o777 == 0o600
    assert not door.parent.exists()


def test_a_child_of_cmd_under_another_user_gets_nothing(gateway: Installation, pry: Path) -> None:
    """CMD as root drops a child's rights: neither CMD's secrets nor the door are open to it."""
    drop = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups sh {pry}"
    command = f'{PARENT}{drop} $$; {drop} "$(parent_of $$)"'
    with running(gateway, "dropping", "sh", "-c", command, user="root") as orchestrator:
        assert orchestrator.wait() == 0, orchestrator.said
    lines = orchestrator.printed.splitlines()
    assert len(lines) == 18
    assert set(lines) == {f"{what}: closed" for what in WITHOUT_SOCKET | {"socket"}}


def test_the_same_user_from_outside_is_refused_at_the_door(gateway: Installation) -> None:
    """A process with CMD's uid that does not descend from CMD is told nothing, and it is said."""
    with running(gateway, "outsider", "sleep", "600") as orchestrator:
        child = orchestrator.child
        wait_until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        uid = Path(f"/proc/{child}").stat().st_uid
        environment = dict(
            entry.split("=", 1)
            for entry in Path(f"/proc/{child}/environ").read_text().split("\0")
            if "=" in entry
        )
        call = curl("/search", "--max-time 5", token="x")
        drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        done = subprocess.run([*drop, "sh", "-c", call], env=environment, check=False)
        assert done.returncode != 0
        wait_until(lambda: "is no descendant of CMD" in orchestrator.said)


def test_the_same_user_cannot_open_an_undumpable_supervisor(
    gateway: Installation, pry: Path
) -> None:
    """Without root CMD has the supervisor's uid; /proc and ptrace are closed all the same."""
    interpreter = interpreter_of_others(
        "import crewgate.cli, crewgate.lifecycle.orchestrator_decommission, trio"
    )
    name = pwd.getpwuid(NOBODY).pw_name
    folder = Path(f"/tmp/crewgate-walls-{os.getpid()}")
    shutil.copytree(gateway.folder, folder, ignore=shutil.ignore_patterns("state", "*.log"))
    try:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        command = f'{PARENT}sh {pry} "$(parent_of $$)"; id -u'
        given = ["run", "-c", str(folder / "crewgate.toml"), "--crew", CREW, "--name", "same"]
        done = subprocess.run(
            [*DROP, interpreter, "-m", "crewgate.cli", *given, "--", "sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | OTHERS | {"XDG_RUNTIME_DIR": ""},
        )
    finally:
        shutil.rmtree(folder)
    lines = done.stdout.splitlines()
    assert set(lines[:8]) == {f"{what}: closed" for what in WITHOUT_SOCKET}, done.stderr
    # Of the copy's certificates the gateway's own CA knows nothing, so nobody is served here.
    assert lines[-1] == str(NOBODY), done.stderr
    assert f"runs as {name}" in done.stderr
