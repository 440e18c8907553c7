"""An orchestrator on a clock that only the test moves."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import tokens

from crewgate.core.policy.policy import CrewPolicy
from crewgate.issuer import Minter, Orchestrator, SigningKey
from crewgate.issuer.branches.local_gateway import BranchUsage, RevocationReceipt

START = 1_800_000_000.0


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def minter() -> Minter:
    """Mints for crew article, within modest ceilings."""
    crew = CrewPolicy(
        name="article",
        issuer="https://orchestrator.example",
        tools=("search.*", "embeddings.create"),
        quota_max=100_000_000,
        depth_max=2,
    )
    return Minter(crew, "https://gateway.example", SigningKey(tokens.KEY, "article-1"))


class FakeGateway:
    """Knows what a test tells it, and keeps what it was asked."""

    def __init__(self) -> None:
        self.known: dict[str, BranchUsage] = {}
        self.asked: list[set[str]] = []
        self.revoked: list[str] = []
        self.revoked_subjects: set[str] = set()
        self.failures: list[Exception] = []
        self.receipt = RevocationReceipt(
            machines_applied=2,
            machines_total=3,
            machines_missing=("gw-3",),
            is_complete=True,
            elapsed_ms=7.5,
            calls_cut=1,
            is_whole_crew=False,
            is_known=True,
        )
        self.meanwhile: Callable[[], object] = list

    def usage(self, branches: Collection[str]) -> dict[str, BranchUsage]:
        self.asked.append(set(branches))
        self.meanwhile()
        return {branch: self.known[branch] for branch in branches if branch in self.known}

    def is_subject_revoked(self, subject: str) -> bool:
        return subject in self.revoked_subjects

    def revoke_subject(self, subject: str, reason: str = "") -> RevocationReceipt:
        self.revoked_subjects.add(subject)
        return self.receipt

    def revoke(self, branch: str, reason: str = "") -> RevocationReceipt:
        self.meanwhile()
        self.revoked.append(branch)
        if self.failures:
            raise self.failures.pop()
        return self.receipt


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


Make = Callable[..., Orchestrator]


@pytest.fixture
def make(minter: Minter, clock: Clock, tmp_path: Path) -> Iterator[Make]:
    """Makes orchestrators on one journal, and closes them."""
    made: list[Orchestrator] = []

    def build(**parts: Any) -> Orchestrator:
        own = {"minter": minter, "journal": tmp_path / "journal.jsonl", "clock": clock}
        made.append(Orchestrator(**(own | parts)))
        return made[-1]

    yield build
    for orchestrator in made:
        orchestrator.close()


@pytest.fixture
def article(make: Make) -> Orchestrator:
    return make()
