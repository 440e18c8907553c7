"""Rules on arguments, and prices, as the official client and the operator see them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from installation import wait_until
from mcp_gateway import MCPGateway, mcp_gateway

TABLES = """
[mcp.ruled]
path = "/mcp/ruled"
rewrite = "/mcp"
upstream = "everything"
price = "0.01"
charge_unfinished = false

[mcp.ruled.tool.test_simple_text]
schema_file = "{schema}"

[mcp.ruled.tool.hold.price]
max = "1"
step = "0.001"
response = [{{ bytes = true, per_thousand = "0.001" }}]

[mcp.ruled.tool.add]
schema = {{ additionalProperties = false, properties = {{ a = {{}}, b = {{}} }} }}
argument = [{{ at = "/a", at_most = 100 }}]

[mcp.ruled.tool.add.price]
call = "0.001"
max = "5"
request = [{{ number = "/arguments/a", each = "0.01" }}]
response = [{{ number = "/structuredContent/sum", each = "0.1" }}]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the schema of a tool, which allows anything."""
    file = tmp_path_factory.mktemp("schemas") / "text.json"
    file.write_text("{}")
    return file


@pytest.fixture(scope="module")
def gateway(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MCPGateway]:
    pytest.importorskip("mcp", reason="mcp is not installed")
    folder = tmp_path_factory.mktemp("mcp")
    with mcp_gateway(folder, TABLES.format(schema=file), ("ruled.*",)) as gateway:
        yield gateway


def session(
    gateway: MCPGateway,
    folder: Path,
    steps: Callable[[Any], Any],
    mode: str = "auto",
    credits_: str = "50",
) -> None:
    """Take steps with the official client, which answers each question of the server."""
    import mcp_types as types  # noqa: PLC0415 - it takes a second

    from crewgate.mcp import client  # noqa: PLC0415 - the same

    async def answer(_context: object, _question: object) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "otter", "color": "brown"})

    async def run() -> None:
        address = gateway.url.replace("everything", "ruled")
        token = folder / "token"
        words = ("--crew", "article", "--role", "tester", "--tools", "ruled.*")
        token.write_text(gateway.premises.run("mint", *words, "--credits", credits_).strip())
        arguments = {"ca": gateway.ca, "mode": mode, "elicitation_callback": answer}
        async with client(token, address, **arguments) as found:
            await steps(found)

    asyncio.run(run())


def costs(gateway: MCPGateway, tool: str) -> list[int]:
    """The micro-credits of each call of a tool in the audit, oldest first."""
    found = gateway.premises.ask("audit", "--tool", tool)
    return [each["cost_micro"] for each in found["calls"]]


def test_a_model_reads_which_argument_is_wrong(gateway: MCPGateway, tmp_path: Path) -> None:
    """It also reads what is allowed. The arguments and the result state the cost of the others."""
    texts: list[str] = []

    async def steps(client: Any) -> None:
        for arguments in ({"a": 3, "b": 4}, {"a": 300, "b": 4}, {"a": 3, "b": 4, "c": 1}):
            result = await client.call_tool("add", arguments)
            texts.append(result.content[0].text)

    for mode in ("auto", "legacy"):
        session(gateway, tmp_path, steps, mode)
    assert texts == 2 * [
        '{\n  "sum": 7\n}',
        'Arguments not allowed. The argument "a" is 300; it must be a number of at most 100.',
        'Arguments not allowed. The argument "c" is not allowed; leave it out.',
    ]
    assert costs(gateway, "ruled.add") == 2 * [731_000, 0, 0]


def test_a_call_of_several_rounds_is_charged_once(gateway: MCPGateway, tmp_path: Path) -> None:
    """The client sends the call three times, because the server asks twice."""
    tool = "test_input_required_result_multi_round"

    async def steps(client: Any) -> None:
        result = await client.call_tool(tool, {})
        assert "brown" in result.content[0].text

    session(gateway, tmp_path, steps)
    assert costs(gateway, f"ruled.{tool}") == [0, 0, 10_000]


def test_a_changed_schema_is_loaded_and_a_bad_one_is_not(
    gateway: MCPGateway, file: Path, tmp_path: Path
) -> None:
    """The rules follow the file."""
    before = gateway.premises.generation()
    file.write_text('{"maxProperties": 0}')
    wait_until(lambda: gateway.premises.generation() > before)

    async def steps(client: Any) -> None:
        result = await client.call_tool("test_simple_text", {"b": 2})
        assert "an object of at most 0 members" in result.content[0].text

    session(gateway, tmp_path, steps)
    file.write_text('{"format": "uri"}')
    wait_until(lambda: "the gateway does not check" in json.dumps(gateway.premises.ask("status")))
    session(gateway, tmp_path, steps)


def test_a_long_stream_is_paid_for_step_by_step(gateway: MCPGateway, tmp_path: Path) -> None:
    """Where the credits end, the model reads why, and the server's work is cancelled."""

    async def steps(client: Any) -> None:
        async def progress(done: float, total: float | None, message: str | None) -> None:
            reports.append(done)

        result = await client.call_tool("hold", {"seconds": 60}, progress_callback=progress)
        assert result.is_error
        assert "credits" in result.content[0].text

    reports: list[float] = []
    session(gateway, tmp_path, steps, credits_="0.004")
    assert reports
    assert 0 < costs(gateway, "ruled.hold")[0] <= 4_000
