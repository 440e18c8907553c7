"""The parts of the control process in one folder, with a table instead of an agent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crewgate import limits
from crewgate._native.records import TableCapacities
from crewgate._native.table import Table
from crewgate._native.table_owner import OwnedTable
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import BranchResponse
from crewgate.ca.authority import new_instance, request_pem
from crewgate.ca.certificates import new_key
from crewgate.cli.commands.init import write_all
from crewgate.config import CAConfig, Config, load
from crewgate.control import token_revocation_check
from crewgate.control.agent_cache import AgentCache
from crewgate.core.ids import EntityKind, crew_key, table_key
from crewgate.core.tokens.claims import Claims
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import ServiceConnectionError
from crewgate.issuer.signing import SigningKey
from crewgate.runtime.single_flight_cache import SingleFlightCache

CREWS = ("bd", "finance")
CREW = """
[crew.{crew}]
issuer = "https://orchestrator.{crew}.example"
jwks = "crews/{crew}.jwks.json"
signing_key = "crews/{crew}/signing.key"
tools = ["search.*", "publish.*"]
credits_per_branch = "100"
"""
KEYLESS = """
[crew.keyless]
issuer = "https://orchestrator.keyless.example"
jwks = "crews/keyless.jwks.json"
tools = ["search.*"]
"""
NOW_BOOT_NS = 10**15
ALWAYS_NS = limits.time_seconds_max * 10**9


def add_crew(folder: Path, crew: str, kid: str = "", orchestrator: str | None = None) -> None:
    """Keys of a crew, which may speak for one orchestrator alone."""
    key = SigningKey.generate(kid or f"{crew}-1")
    jwk = key.jwk() | ({"orchestrator": orchestrator} if orchestrator else {})
    (folder / "crews" / crew).mkdir(exist_ok=True)
    path = folder / "crews" / crew / "signing.key"
    path.unlink(missing_ok=True)
    key.write(path)
    jwks = folder / "crews" / f"{crew}.jwks.json"
    jwks.write_text(json.dumps({"keys": [jwk]}))


def written(folder: Path) -> Config:
    """A configuration with the crews article, bd, finance, and keyless, which cannot sign here."""
    file = write_all(folder / "gw", 9000)
    text = file.read_text()
    for crew in CREWS:
        add_crew(folder / "gw", crew)
        text += CREW.format(crew=crew)
    add_crew(folder / "gw", "keyless")
    file.write_text(text + KEYLESS)
    config = load(file)
    config.state.mkdir(mode=0o700, exist_ok=True)
    return config


def ca_of(config: Config) -> CAConfig:
    assert config.ca is not None
    return config.ca


class Machine:
    """A table that vouches for itself, and a tree, in place of an agent; both may be away."""

    def __init__(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table = OwnedTable.create(str(config.state / "table"), TableCapacities(64, 64, 64, 2))
        self.table.extend_freshness(ALWAYS_NS, ALWAYS_NS)
        self.away = False
        self.rows: list[BranchResponse] = []
        self.asked = 0
        self.graph = AgentCache(config.state)
        self.graph.tree = SingleFlightCache(self._tree, seconds=0.0)
        self.counted: list[str] = []  # branches of grants that the minting watch has seen
        self.holds_back = False
        self.graph.may_mint = self._may_mint
        monkeypatch.setattr(token_revocation_check, "open_table", self._mapped)
        monkeypatch.setattr(limits, "tree_seconds", 0.0)

    def _mapped(self, folder: Path) -> Table:
        if self.away:
            raise ServiceConnectionError(f"{folder}: no agent")
        return Table.attach(self.table.fd)

    def _may_mint(self, claims: Claims, crew: str, kid: str) -> bool:
        self.counted.append(claims.execution_branch_id)
        return not self.holds_back

    def _tree(self) -> BranchTreeSnapshot:
        if self.away:
            raise ServiceConnectionError("no agent")
        self.asked += 1
        return BranchTreeSnapshot(self.rows)

    def revoke(self, kind: EntityKind, crew: str, name: bytes, before: int = 0) -> None:
        key = crew_key(crew) if kind is EntityKind.CREW else table_key(kind, crew, name)
        until = before or limits.time_seconds_max
        self.table.revoke(key, crew_key(crew), until, 3600, 1, NOW_BOOT_NS)


@contextmanager
def closing(thing: Any) -> Iterator[Any]:
    """Close it at the end."""
    try:
        yield thing
    finally:
        thing.close()


def csr() -> str:
    """A certificate request of a new key."""
    return request_pem(new_key()).decode()


def identity(role: Role, name: str, crew: str = "") -> Identity:
    return Identity(role, name, new_instance(), crew)
