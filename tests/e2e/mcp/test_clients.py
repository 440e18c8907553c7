"""MCP clients of the field list, call, are refused, are revoked in mid-stream, and go on."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from documents import ROOT
from installation import wait_until
from mcp_client_runs import Steps, run_python, run_typescript
from mcp_gateway import MCPGateway
from npm_programs import needs_npm

pytestmark = needs_npm

PAGE = ROOT / "docs" / "reference" / "mcp-clients.md"
NEW, OLD = "@modelcontextprotocol/client", "@modelcontextprotocol/sdk"
STEPS = {
    "not allowed": "The token does not allow the tool",
    "exhausted": "The credits are spent",
    "revoked": "The branch is revoked while the call runs",
    "after": "A call after that",
    "other branch": "A call with the token of another branch",
}


def held(gateway: MCPGateway) -> list[str | None]:
    """How the calls of the tool `hold` have ended at the server."""
    requests = gateway.everything.observed()["requests"]
    return [each["ended"] for each in requests if each["target"] == "hold"]


@pytest.fixture(scope="module")
def before(gateway: MCPGateway) -> int:
    """How many such calls other tests have made."""
    return len(held(gateway))


@pytest.fixture(scope="module")
def seen(
    gateway: MCPGateway, before: int, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Steps]:
    """The steps of each client, by its name and the revision; all clients run at the same time."""

    def folder() -> Path:
        return tmp_path_factory.mktemp("client")

    modern, legacy = "2026-07-28", "2025-11-25"
    with ThreadPoolExecutor() as pool:
        runs = {
            ("Python SDK 2", modern): pool.submit(run_python, gateway, "auto"),
            ("Python SDK 2", legacy): pool.submit(run_python, gateway, "legacy"),
            ("TypeScript SDK 2", modern): pool.submit(
                run_typescript, gateway, NEW, "auto", folder()
            ),
            ("TypeScript SDK 2", legacy): pool.submit(
                run_typescript, gateway, NEW, "legacy", folder()
            ),
            ("TypeScript SDK 1", legacy): pool.submit(
                run_typescript, gateway, OLD, "legacy", folder()
            ),
        }
    return {client: run.result() for client, run in runs.items()}


def test_each_client_works(seen: dict[tuple[str, str], Steps]) -> None:
    """It lists what its token allows, calls it, resumes a stream, and renews its token."""
    for client, steps in seen.items():
        assert steps["list"]["text"] == "add,hold,test_reconnection", client
        resumed = {"isError": False, "text": "Reconnection test completed"}
        assert steps["resumed"] == resumed, client
        assert '"sum": 3' in steps["call"]["text"], client
        assert steps["renewed token"] == steps["call"], client
        assert steps["unknown"].keys() == steps["not allowed"].keys(), client


def test_no_call_of_a_revoked_branch_goes_on(
    seen: dict[tuple[str, str], Steps], before: int, gateway: MCPGateway
) -> None:
    """The server saw that each was cancelled, in both revisions."""
    wait_until(lambda: held(gateway)[before:] == ["cancelled"] * len(seen))


def test_the_page_shows_what_programs_and_models_get(seen: dict[tuple[str, str], Steps]) -> None:
    """The tables of the page are as this test makes them."""
    names = list(dict.fromkeys(name for name, _ in seen))
    texts = {step: seen["Python SDK 2", "2025-11-25"][step]["text"] for step in STEPS}
    said = [[STEPS[step], text] for step, text in texts.items()]
    shown = [
        [STEPS[step], *(_cell(seen, name, step, text) for name in names)]
        for step, text in texts.items()
    ]
    page = PAGE.read_text()
    for table in _table("Text of the gateway", rows=said), _table(*names, rows=shown):
        assert table in page, f"{PAGE} needs this table:\n{table}"


def _table(*titles: str, rows: list[list[str]]) -> str:
    lines = [["What happens", *titles], ["---"] * (1 + len(titles)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(seen: dict[tuple[str, str], Steps], name: str, step: str, text: str) -> str:
    found = {
        revision: _described(steps[step], text)
        for (client, revision), steps in seen.items()
        if client == name
    }
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return "; ".join(f"{revision}: {described}" for revision, described in found.items())


def _described(found: dict[str, object], text: str) -> str:
    """How a program gets the text of the gateway."""
    if "error" not in found:
        return "a tool error with the text" if found["isError"] else "the result"
    shown = str(found["text"])
    if shown == text or shown == f"MCP error {found.get('code')}: {text}":
        return f"`{found['error']}` with the text"
    if text in shown:
        return f"`{found['error']}` with the body, which has the text"
    return f"`{found['error']}`: {shown}"
