"""What the link's tests share: a grant, and two ends of a connection."""

import socket
from collections.abc import Iterator

import pytest

from crewgate.core.ids import branch_key, path_digest
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.core.tokens.grant import Grant

ROOT = "0199c1d2-0000-7000-8000-000000000001"
BRANCH = "0199c1d2-0000-7000-8000-000000000002"


@pytest.fixture
def grant() -> Grant:
    """A grant of one credit for a child of ROOT."""
    claims = Claims(
        iss="https://orchestrator.example",
        aud="https://gateway.example",
        sub="user_414",
        client_id="article/article-1",
        iat=1_800_000_000,
        exp=1_800_000_900,
        jti="grant-1",
        crew="article",
        process_id="pid_7729",
        agent_role="researcher",
        execution_branch_id=BRANCH,
        allowed_tools=["search.web"],
        credit_quota=1_000_000,
        branch_path=[PathElement(id=ROOT, credit_quota=10_000_000)],
    )
    path = (branch_key("article", ROOT),)
    return Grant(
        claims=claims,
        crew="article",
        kid="k1",
        quota=1_000_000,
        branch_key=branch_key("article", BRANCH),
        path_keys=path,
        path_digest=path_digest(path),
    )


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours and the agent's end of a unix stream."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        theirs.settimeout(5)
        yield ours, theirs
