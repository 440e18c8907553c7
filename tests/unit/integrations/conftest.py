"""An orchestrator whose gateway is a fake."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from issuer_world import FakeGateway, clock, gateway, minter  # noqa: F401 - fixtures

from crewgate.issuer import Minter, Orchestrator, SubAgent


@pytest.fixture
def run(minter: Minter, gateway: FakeGateway, tmp_path: Path) -> Iterator[SubAgent]:  # noqa: F811
    """A run of ten credits, of an orchestrator that asks the gateway."""
    with Orchestrator(minter, tmp_path / "journal.jsonl", gateway=gateway) as orchestrator:
        yield orchestrator.start_run(credits="10", tools=["search.*", "embeddings.create"])
