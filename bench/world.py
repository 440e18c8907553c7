"""A crew with a signing key, tokens of any number of branches, and tables that know them.

Decides what the measured tokens look like (some 960 bytes, two ancestors); knows no timing.
"""

import json
import time
import uuid
from dataclasses import dataclass, field
from random import Random

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crewgate import limits
from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate._native.table import Table
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.policy.policy import CrewPolicy, Policy, ToolPolicy, VerificationKey
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

AUDIENCE = "https://gateway.example"
ISSUER = "https://orchestrator.example"
CREW = "article"
KID = "article-1"

# Indexes of the policy's tools.
SEARCH = 0
PUBLISH = 1
PRICE = 10

SMALL = TableCapacities(1024, 1024, 1024, 16)
LARGE = TableCapacities(
    limits.table_branches_max,
    limits.table_revocations_max,
    limits.table_reservations_max,
    limits.table_attachments_max,
)
# Enough for every call of a run: 50 thousand million at the price above.
LEASE = limits.lease_granted_micro_max


def clocks() -> tuple[int, int]:
    """(wall seconds, CLOCK_BOOTTIME nanoseconds), as the table's owner is given them."""
    return int(time.time()), time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Line:
    """A branch and its ancestors, as UUID texts, and the process that it runs in."""

    root: str
    parent: str
    branch: str
    process: str


@dataclass
class World:
    """One crew, its key and policy; everything random comes from `random`, ids included."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    random: Random = field(default_factory=lambda: Random(1))
    serial: int = 0

    @property
    def public(self) -> bytes:
        """The 32 bytes of the crew's public key."""
        return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def policy(self) -> Policy:
        """`search.web` at 10 micro-credits is in every token's scope, `publish.post` in none."""
        return Policy(
            AUDIENCE,
            (VerificationKey(KID, CREW, self.public),),
            (CrewPolicy(CREW, ISSUER, ("search.*", "publish.*")),),
            (ToolPolicy("search.web", PRICE), ToolPolicy("publish.post", PRICE)),
        )

    def line(self) -> Line:
        """A branch that nobody has seen, under a parent and a root of its own."""
        root, parent, branch = (
            str(uuid.UUID(bytes=self.random.randbytes(16), version=4)) for _ in range(3)
        )
        return Line(root, parent, branch, f"pid_{self.random.randrange(10**9)}")

    def payload(self, line: Line, **more: object) -> bytes:
        """A full set of claims and `more`, as JSON."""
        self.serial += 1
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "user_414",
            "client_id": f"{CREW}/article-1",
            "iat": now,
            "exp": now + limits.token_lifetime_seconds_max,
            "jti": f"grant-{self.serial}",
            "crew": CREW,
            "process_id": line.process,
            "agent_role": "researcher",
            "execution_branch_id": line.branch,
            "allowed_tools": ["search.*", "embeddings.create", "free.*"],
            "credit_quota": limits.quota_micro_max,
            "branch_path": [
                {"id": line.root, "credit_quota": limits.quota_micro_max, "iat": now},
                {"id": line.parent, "credit_quota": limits.quota_micro_max, "iat": now},
            ],
        }
        return json.dumps(claims | more).encode()

    def mint(self, line: Line, **more: object) -> bytes:
        """A token with `more` claims, signed by PyJWT, as the issuer signs."""
        header = {"typ": "at+jwt", "kid": KID}
        payload = self.payload(line, **more)
        return jwt.api_jws.encode(payload, self.private, "EdDSA", headers=header).encode()

    def gate(self, table: Table, attachment: int = 0, *, holds: bool) -> Gate:
        """A gate that has loaded the policy."""
        gate = Gate(table, attachment, holds=holds)
        gate.load(self.policy)
        return gate


def private_table(geometry: TableCapacities, policy: Policy) -> OwnedTable:
    """An empty table of this process, under the policy's generation."""
    table = OwnedTable.private(geometry)
    table.set_policy_generation(policy.generation)
    return table


def open_record(table: OwnedTable, key: bytes, parents: tuple[int, ...], path: bytes) -> int:
    """A record that outlives the run; its number. No grant of the run is newer than its quota."""
    now, boot = clocks()
    end = now + 86_400
    return table.open_branch(key, parents, path, limits.quota_micro_max, end, end, now, boot)


def open_line(table: OwnedTable, line: Line, lease: int = LEASE) -> int:
    """Open a branch and what is above it; draw its lease. The branch's record number."""
    crew = table.find(ids.crew_key(CREW))
    numbers = [crew if crew >= 0 else open_record(table, ids.crew_key(CREW), (), bytes(16))]
    keys: tuple[bytes, ...] = ()
    for text in (line.root, line.parent, line.branch):
        key = ids.branch_key(CREW, text)
        number = table.find(key)
        if number < 0:
            number = open_record(table, key, tuple(numbers), ids.path_digest(keys))
        numbers.append(number)
        keys += (key,)
    if lease:
        table.begin_draw(numbers[-1], lease)
        table.grant(numbers[-1], lease)
    return numbers[-1]


def expect(verdict: Permit | Denial, reason: Reason | None = None) -> None:
    """End the run if a verdict is not what is about to be measured; None expects a permit."""
    found = verdict.reason if isinstance(verdict, Denial) else None
    if found is not reason:
        raise SystemExit(f"bench: about to measure {reason or 'a permit'}, got {found or 'one'}")
    if isinstance(verdict, Permit) and verdict.has_reservation:
        verdict.release()
