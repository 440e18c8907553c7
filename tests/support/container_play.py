"""What a gateway in a container must do, and what the container that follows it must know."""

import json
from typing import NamedTuple

from container import Container

CREDITS = "0.03"  # a call costs 0.01


class Kept(NamedTuple):
    """A token with 0.02 credits left, and one that is revoked."""

    good: str
    revoked: str


def before(container: Container) -> Kept:
    """Start a gateway, make calls, revoke a branch, and stop it."""
    container.start()
    good, revoked = (mint(container) for _ in range(2))
    assert (container.call(good), container.call(revoked)) == (200, 200)
    claims = json.loads(container.inside("inspect", "--json", revoked))["payload"]
    container.inside("revoke", "-c", container.config, claims["execution_branch_id"])
    assert container.call(revoked) == 401
    assert container.stop() == 0
    return Kept(good, revoked)


def after(container: Container, kept: Kept) -> None:
    """Start the next gateway of the same folder, and check that it knows what the last one did."""
    container.start()
    assert container.call(kept.revoked) == 401
    # 0.01 of 0.03 credits was spent before.
    assert [container.call(kept.good) for _ in range(3)] == [200, 200, 403]
    assert "search.web" in container.inside("audit", "-c", container.config, "--since", "1h")
    container.inside("ledger", "check", "-c", container.config)
    assert container.probe() == 0
    container.leave_orphan()
    assert container.stop() == 0


def mint(container: Container) -> str:
    """Return a token of a new branch."""
    return container.inside(
        "mint", "-c", container.config, "--crew", "article", "--role", "researcher",
        "--tools", "search.*", "--credits", CREDITS,
    )  # fmt: skip
