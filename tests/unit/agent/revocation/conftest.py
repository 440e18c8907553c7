"""The journal and the store of revocations of one machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation import types
from crewgate.agent.revocation.revocation_store import RevocationStore


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalFile[types.StoredRevocation]]:
    """The journal, empty."""
    journal = JournalFile(tmp_path / "revocations", types.StoredRevocation)
    journal.rewrite([])
    yield journal
    journal.close()


@pytest.fixture
def revocations(
    table: OwnedTable, journal: JournalFile[types.StoredRevocation], registry: BranchRegistry
) -> RevocationStore:
    """Nothing revoked yet; 64 places."""
    return RevocationStore(table, journal, registry)
