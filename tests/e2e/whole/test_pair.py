"""Two machines as `init` and `init --from` write them, told of each other as it says."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from installation import Installation, wait_until

ALONE = 'url = "sqlite:state/ledger.db"'


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Installation, Installation]]:
    """Both serve, with budgets on each."""
    with ExitStack() as stack:
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
        one = Installation(tmp_path / "first", workers=1)
        stack.callback(one.end)
        more = ("--from", str(one.file), "--budgets", "per-machine")
        two = Installation(tmp_path / "second", *more, workers=1)
        stack.callback(two.end)
        edit(one, ALONE, f"{ALONE}\nper_machine = true")
        peer = f'peers = ["127.0.0.1:{two.port + 3}"]\nstaleness_quorum = "any"'
        edit(one, "peers = []", peer)
        for machine in (one, two):
            machine.serve()
        yield one, two


def edit(machine: Installation, old: str, new: str) -> None:
    """Change its configuration."""
    text = machine.file.read_text()
    assert old in text
    machine.file.write_text(text.replace(old, new, 1))


async def _statuses(machines: tuple[Installation, Installation], token: str) -> list[int]:
    found = []
    for machine in machines:
        async with machine.client() as client:
            headers = {"authorization": f"Bearer {token}"}
            found.append((await client.post("/search", headers=headers, json={})).status_code)
    return found


def _refused(machine: Installation) -> str:
    """Why its configuration was not taken; a machine whose workers load one is not ready yet."""
    return str(machine.ask("status", "--wait", "100")["configuration_error"])


def test_both_are_sound_and_serve_one_crew(pair: tuple[Installation, Installation]) -> None:
    """One token is good at each; they are two names of one authority."""
    one, two = pair
    for machine in pair:
        assert machine.ask("check")["problems"] == []
    rows = [row for row in one.ask("ca", "list") if row["role"] == "gateway"]
    assert len({row["name"] for row in rows}) == 2
    assert rows == [row for row in two.ask("ca", "list") if row["role"] == "gateway"]
    arguments = ("--crew", "article", "--role", "researcher", "--tools", "search.*")
    token = one.run("mint", *arguments, "--credits", "5").strip()
    assert trio.run(_statuses, pair, token) == [200, 200]


def test_a_reload_changes_whom_to_join_and_no_port(pair: tuple[Installation, Installation]) -> None:
    """What wants another start is said, and what was in force stays."""
    one, _ = pair
    generation = one.generation()
    edit(one, 'staleness_quorum = "any"', 'staleness_quorum = "any"\nmax_staleness_seconds = 9')
    wait_until(lambda: one.generation() > generation)
    edit(one, f"port = {one.port + 3}", f"port = {one.port + 9}")
    wait_until(lambda: _refused(one))
    said = _refused(one)
    assert "port of [cluster] cannot change while serving" in said
    edit(one, f"port = {one.port + 9}", f"port = {one.port + 3}")
    wait_until(lambda: not _refused(one))
