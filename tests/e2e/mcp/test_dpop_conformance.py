"""The DPoP scenarios of MCP's conformance suite. They are about clients, so `crewgate.mcp` runs."""

import json
import sys
from pathlib import Path

import dpop_mcp_client
import pytest
from npm_programs import needs_npm, program, run_node

pytestmark = needs_npm
PROOFS = {"client-token-request-proof", "client-dpop-auth-scheme", "client-fresh-proof"}
NONCES = {"client-as-nonce", "client-rs-nonce"}


@pytest.mark.parametrize(
    ("scenario", "checks"), [("auth/dpop", PROOFS), ("auth/dpop-nonce", PROOFS | NONCES)]
)
def test_our_client_passes(scenario: str, checks: set[str], tmp_path: Path) -> None:
    """A fresh proof with each request, and once more with the nonce that the server wants."""
    command = f"{sys.executable} {dpop_mcp_client.__file__}"
    words = ("client", "--command", command, "--scenario", scenario, "-o", tmp_path / "found")
    done = run_node(program("conformance"), *words, folder=tmp_path)
    (file,) = (tmp_path / "found").rglob("checks.json")
    found = {
        each["id"].removeprefix("sep-1932-"): each["status"]
        for each in json.loads(file.read_text())
        if each["status"] != "INFO"
    }
    assert checks <= found.keys(), done.stdout + done.stderr
    assert set(found.values()) == {"SUCCESS"}, done.stdout
