"""The registry: who each branch is, over restarts, within its bound."""

from pathlib import Path

import msgspec
from grant_builders import branch_id, grant, key

from crewgate.agent.branch_registry import BranchEntry, BranchRegistry
from crewgate.agent.journal_file import JournalFile


def _again(path: Path, entries_max: int = 256) -> BranchRegistry:
    """What an agent knows that was started after a kill."""
    journal = JournalFile(path / "registry", BranchEntry)
    registry = BranchRegistry(journal, entries_max)
    registry.restore()
    journal.close()
    return registry


def test_a_branch_is_known_with_its_ancestors(registry: BranchRegistry) -> None:
    """Whoever calls is known by name; an ancestor that never called by its place."""
    registry.learn(grant(3, 500, (1, 9000, None), (2, 800, None)))
    entry = registry.get(key(3))
    assert entry is not None
    assert (entry.role, entry.orchestrator, entry.process) == (
        "researcher",
        "article/one",
        "pid_7729",
    )
    assert (entry.parent, entry.quota) == (branch_id(2), 500)
    assert registry.ancestry(entry) == (branch_id(1), branch_id(2))
    root = registry.get(key(1))
    assert root == BranchEntry("article", branch_id(1), subject="user_414", quota=9000)


def test_the_newest_grant_counts(registry: BranchRegistry) -> None:
    """A refresh replaces the grant, an older one does not; at equal iat the lower quota does."""
    registry.learn(grant(1, 500, iat=100))
    registry.learn(grant(1, 700, iat=200))
    registry.learn(grant(1, 600, iat=150))
    registry.learn(grant(1, 650, iat=200))
    registry.learn(grant(1, 690, iat=200))
    entry = registry.get(key(1))
    assert entry is not None
    assert (entry.quota, entry.iat) == (650, 200)


def test_an_ancestor_that_calls_later_gets_its_names(registry: BranchRegistry) -> None:
    """The place that a child's path gave it is filled in."""
    registry.learn(grant(2, 500, (1, 9000, None)))
    registry.learn(grant(1, 8000))
    entry = registry.get(key(1))
    assert entry is not None
    assert (entry.role, entry.quota) == ("researcher", 8000)


def test_it_survives_a_kill(registry: BranchRegistry, tmp_path: Path) -> None:
    """Another process reads the same branches, newest grants and all."""
    registry.learn(grant(2, 500, (1, 9000, None)))
    registry.learn(grant(2, 600, (1, 9000, None), iat=1_800_000_100))
    registry.forget(key(1))
    again = _again(tmp_path)
    assert again.snapshot() == registry.snapshot()
    assert again.get(key(1)) is None


def test_damaged_names_are_skipped(registry: BranchRegistry, tmp_path: Path) -> None:
    """A line whose branch is no UUID costs itself only."""
    registry.learn(grant(1, 500))
    with (tmp_path / "registry").open("ab") as file:
        file.write(msgspec.json.encode(BranchEntry(crew="article", branch="nonsense")) + b"\n")
    assert len(_again(tmp_path)) == 1


def test_it_is_bounded(tmp_path: Path) -> None:
    """Over the bound new branches are not remembered; known ones still get their grants."""
    journal = JournalFile(tmp_path / "registry", BranchEntry)
    journal.rewrite([])
    registry = BranchRegistry(journal, 2)
    for number in range(5):
        registry.learn(grant(number, 500))
    registry.learn(grant(0, 700, iat=1_800_000_100))
    journal.close()
    assert len(registry) == 2
    assert registry.get(key(0)).quota == 700  # type: ignore[union-attr]
    assert len(_again(tmp_path, 2)) == 2
