"""An orchestrator on a clock that only the test moves."""

from issuer_world import (  # noqa: F401 - fixtures
    article,
    clock,
    gateway,
    make,
    minter,
)
