"""The official conformance suite finds the same behind the gateway as at the server itself."""

from pathlib import Path

import pytest
from mcp_conformance import REVISIONS, differences
from mcp_gateway import MCPGateway
from npm_programs import needs_npm

pytestmark = [needs_npm, pytest.mark.timeout(900)]  # six runs of the suite at most

# The checks that the gateway passes and the server fails, each with its reason.
BETTER = {
    "2026-07-28": {
        # The SDK's HTTP server keeps the blanks after the value of a field.
        "http-header-validation: sep-2243-server-accepts-whitespace-header-value",
        # The SDK does not compare Mcp-Name with the task that the body names.
        "tasks-request-headers: sep-2663-server-rejects-mismatched-mcp-name-on-tasks-get",
    },
    "2025-11-25": set[str](),
}


@pytest.mark.parametrize("revision", REVISIONS)
def test_conformance(revision: str, gateway: MCPGateway, tmp_path: Path) -> None:
    """Each check has the same status, except those that the gateway passes and the server fails."""
    known = dict.fromkeys(BETTER[revision], "FAILURE, SUCCESS")
    with gateway.shim(gateway.start().token()) as url:
        found = differences(gateway.everything.url, url, revision, tmp_path, known)
    assert found == known
