"""The prices of MCP endpoints as a configuration says them."""

import tomllib

import pytest

from crewgate.config.declaration import TableSchema
from crewgate.config.mcp import MCPConfig
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.core.pricing.tariff import Tariff

ENDPOINT = 'path = "/mcp"\nupstream = "files"\n'


def read(text: str) -> tuple[MCPConfig, list[str]]:
    problems: list[str] = []
    section = TOMLTableReader(tomllib.loads(ENDPOINT + text), "mcp.files", problems)
    return TableSchema(MCPConfig).read(section, {}, name="files"), problems


def test_pointers_begin_at_the_parameters_and_at_the_result() -> None:
    """They lead into `params` of the request, and into `result` of the response."""
    config, problems = read("""
        price = "0.01"
        [tool.scan.price]
        max = "1"
        request = [{ items = "/arguments/pages", each = "0.1" }]
        response = [
            { number = "/structuredContent/pages", each = "0.1" },
            { number = "/_meta/cost", each = "1" },
            { header = "x-cost", each = "1" },
        ]
        """)
    assert not problems
    (tool,) = config.tools
    tariff = tool.tariff
    assert tariff is not None
    assert (tool.price, tariff.is_mcp, tariff.charges_unfinished) == (1_000_000, True, True)
    assert [term.name for term in tariff.request] == ["/params/arguments/pages"]
    assert [term.name for term in tariff.response] == [
        "/result/structuredContent/pages", "/result/_meta/cost", "x-cost",
    ]  # fmt: skip


def test_a_part_has_the_price_and_the_switch_of_its_endpoint() -> None:
    """A table of its own changes what it names, and nothing else."""
    config, problems = read("""
        price = "0.01"
        charge_unfinished = false
        [tool.dear]
        price = "0.05"
        [tool.each]
        charge_unfinished = true
        [tool.free]
        price = "0"
        """)
    assert not problems
    once = {"is_mcp": True, "charges_unfinished": False}
    assert (config.price, config.tariff) == (10_000, Tariff(10_000, 10_000, **once))
    dear, each, free = config.tools
    assert (dear.price, dear.tariff) == (50_000, Tariff(50_000, 50_000, **once))
    assert (each.price, each.tariff) == (10_000, None)
    assert (free.price, free.tariff) == (0, None)


@pytest.mark.parametrize("table", ["price", "tool.scan.price"])
def test_no_part_of_an_endpoint_has_the_price_of_a_language_model(table: str) -> None:
    """Its messages have neither a model nor a usage."""
    fixed = 'price = "0"\n' if table != "price" else ""
    model = 'usage = "openai"\nmodel.m = { input = "1", output = "2" }'
    _, problems = read(f'{fixed}[{table}]\nmax = "1"\n{model}')
    assert problems == [f"mcp.files.{table}: usage: MCP is no language model's API; leave it out"]
