"""A crew with a key, a policy and a token: what most tests of the gate begin with."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crewgate._native.gate import Gate
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core.policy.policy import CrewPolicy, Policy, ToolPolicy, VerificationKey
from crewgate.core.tokens.grant import Grant

AUDIENCE = "https://gateway.example"
ISSUER = "https://orchestrator.example"
CREW = "article"
KID = "article-1"
ROOT = "0199c1d2-0000-7000-8000-000000000001"
PARENT = "0199c1d2-0000-7000-8000-000000000002"
BRANCH = "0199c1d2-0000-7000-8000-000000000003"


@dataclass
class World:
    """Signing keys by crew, and one policy in which tool 0 costs 10 micro-credits."""

    now: int
    keys: dict[str, Ed25519PrivateKey]
    policy: Policy
    serial: int = 0
    token: bytes = b""
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, *, crews: tuple[str, ...] = (CREW,), **ceilings: Any) -> "World":
        keys = {crew: Ed25519PrivateKey.generate() for crew in crews}
        public = [
            VerificationKey(
                f"{crew}-1", crew, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            )
            for crew, key in keys.items()
        ]
        tools = (
            ToolPolicy("search.web", 10),
            ToolPolicy("embeddings.create", 5),
            ToolPolicy("free.ping", 0),
            ToolPolicy("publish.post", 10, owner=CREW),
            ToolPolicy("audit.read", 10, owner="finance"),
        )
        policy = Policy(
            AUDIENCE,
            tuple(public),
            tuple(
                CrewPolicy(
                    crew,
                    ISSUER,
                    ("search.*", "embeddings.create", "free.*", "publish.*", "audit.*"),
                    **ceilings,
                )
                for crew in crews
            ),
            tools,
        )
        world = cls(int(time.time()), keys, policy)
        world.token = world.mint()
        return world

    def claims(self, **changes: Any) -> dict[str, Any]:
        """A full set of claims; a change to None leaves the claim out."""
        self.serial += 1
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "user_414",
            "client_id": f"{CREW}/article-1",
            "iat": self.now,
            "exp": self.now + 900,
            "jti": f"grant-{self.serial}",
            "crew": CREW,
            "process_id": "pid_7729",
            "agent_role": "researcher",
            "execution_branch_id": BRANCH,
            "allowed_tools": ["search.*", "embeddings.create", "free.*"],
            "credit_quota": 2_500_000,
            "branch_path": [
                {"id": ROOT, "credit_quota": 10_000_000, "iat": self.now},
                {"id": PARENT, "credit_quota": 5_000_000, "iat": self.now},
            ],
        }
        claims.update(changes)
        return {name: value for name, value in claims.items() if value is not None}

    def mint(self, crew: str = CREW, **changes: Any) -> bytes:
        """A token signed with the crew's key; its `crew` claim says so unless changed."""
        claims = self.claims(**{"crew": crew, **changes})
        return self.sign(json.dumps(claims).encode(), crew)

    def sign(self, payload: bytes, crew: str = CREW, **header: Any) -> bytes:
        """Any payload under a good signature of the crew."""
        head = {"alg": "EdDSA", "typ": "at+jwt", "kid": f"{crew}-1", **header}
        return jwt.api_jws.encode(
            payload, self.keys[crew], algorithm="EdDSA", headers=head
        ).encode()

    @property
    def grant(self) -> Grant:
        """What `token` grants."""
        table = OwnedTable.private(TableCapacities(64, 64, 64, 2))
        table.set_policy_generation(self.policy.generation)
        gate = Gate(table)
        gate.load(self.policy)
        grant: Grant | None = gate.decide(self.token, 0).grant
        assert grant is not None
        return grant
