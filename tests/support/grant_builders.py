"""Builders for tests of credit: grants as the gate hands them on, and a crew to draw under."""

import uuid

from crewgate.core import ids
from crewgate.core.policy.policy import CrewPolicy, Policy
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.core.tokens.grant import Grant

NOW = 1_800_000_000.0
BOOT_NS = 10**12
CREW = CrewPolicy("article", "https://orchestrator.example")
POLICY = Policy("https://gateway.example", (), (CREW,), ())


def branch_id(number: int) -> str:
    """UUID text of a branch that a test numbers."""
    return str(uuid.UUID(int=number + 1))


def key(number: int, crew: str = "article") -> bytes:
    """The 16-byte key of a numbered branch."""
    return ids.branch_key(crew, branch_id(number))


def grant(
    number: int,
    quota: int,
    *above: tuple[int, int, int | None],
    iat: int = int(NOW),
    lifetime: int = 900,
    crew: str = "article",
) -> Grant:
    """A grant for branch `number`; `above`: (number, quota, iat) of the ancestors, root first."""
    claims = Claims(
        iss="https://orchestrator.example",
        aud="https://gateway.example",
        sub="user_414",
        client_id=f"{crew}/one",
        iat=iat,
        exp=iat + lifetime,
        jti=branch_id(number),
        crew=crew,
        process_id="pid_7729",
        agent_role="researcher",
        execution_branch_id=branch_id(number),
        allowed_tools=["search.*"],
        credit_quota=quota,
        branch_path=[PathElement(branch_id(n), limit, when) for n, limit, when in above],
    )
    keys = tuple(key(n, crew) for n, _, _ in above)
    own = key(number, crew)
    return Grant(claims, crew, "kid", quota, own, keys, ids.path_digest(keys))
