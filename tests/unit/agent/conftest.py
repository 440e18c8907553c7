"""What the agent's tests share: a small table of this process, two clocks that a test sets."""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from agent_world import GEOMETRY, TOML, Hands, PromptClerk, S, Start, X
from cluster_agent import Clustered
from grant_builders import NOW

from crewgate._native.table_owner import OwnedTable
from crewgate.agent import branch_registry as registry_
from crewgate.agent.active_config import ActiveConfig
from crewgate.agent.anomaly.minting_watch import MintingWatch
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation.types import ClockReading
from crewgate.agent.state import AgentState
from crewgate.core.anomaly.results import ProfileSnapshot
from crewgate.core.audit.records import Record
from crewgate.core.x509.identity_extension import MAY_REVOKE
from crewgate.ledger.factory import open_ledger
from crewgate.ledger.sql import SQLLedger


@pytest.fixture
def table() -> Iterator[OwnedTable]:
    """A private table with room for 64 revocations and 8 attachments."""
    table = OwnedTable.private(GEOMETRY)
    yield table
    table.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[BranchRegistry]:
    """An empty registry with its journal."""
    journal = JournalFile(tmp_path / "registry", registry_.BranchEntry)
    journal.rewrite([])
    yield BranchRegistry(journal, GEOMETRY.branches)
    journal.close()


@pytest.fixture
def watching(
    tmp_path: Path,
    written: list[Record],
    registry: BranchRegistry,
    table: OwnedTable,
) -> Iterator[MintingWatch]:
    """A watch over nobody yet, under no configuration."""
    journal = JournalFile(tmp_path / "watch", ProfileSnapshot)
    journal.rewrite([])
    yield MintingWatch(
        journal,
        registry,
        table,
        sink=written.extend,
        wall_ns=lambda: int(NOW * S),
        believed=lambda: ClockReading(int(NOW), 0),
    )
    journal.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration without workers, and its state folder."""
    x = base64.urlsafe_b64encode(bytes.fromhex(X)).rstrip(b"=").decode()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "alg": "EdDSA", "use": "sig"}
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    (tmp_path / "state").mkdir()
    file = tmp_path / "crewgate.toml"
    file.write_text(TOML.format(workers=0, price="0.01"))
    return file


@pytest.fixture
def hands() -> Hands:
    """The clocks."""
    return Hands()


@pytest.fixture
def written() -> list[Record]:
    """What went to the audit."""
    return []


@pytest.fixture
def start(file: Path, hands: Hands, written: list[Record]) -> Iterator[Start]:
    """Start an agent on the table that stands there: twice is a kill and a restart."""
    path = str(file.parent / "state" / "table")
    tables: list[OwnedTable] = []
    ledgers: list[SQLLedger] = []

    def sink(records: Iterable[Record]) -> None:
        written.extend(records)

    def begin() -> AgentState:
        for table in tables:
            table.close()
        tables.append(OwnedTable.open(path) if tables else OwnedTable.create(path, GEOMETRY))
        while ledgers:
            ledgers.pop().session.close()
        inforce = ActiveConfig(file)
        ledgers.append(open_ledger(inforce.config.ledger))
        clerk = PromptClerk(ledgers[-1], hands)
        machine = AgentState(inforce, tables[-1], clerk, sink=sink, clock=hands)
        machine.restore()
        return machine

    yield begin
    for table in tables:
        table.close()
    for ledger in ledgers:
        ledger.session.close()


@pytest.fixture
def clustered(start: Start, hands: Hands, tmp_path: Path) -> Iterator[Clustered]:
    """The first machine of a trust domain, which counts."""
    with Clustered(start, hands, tmp_path / "ca", (MAY_REVOKE,)).begun(bootstrap=True) as found:
        yield found
