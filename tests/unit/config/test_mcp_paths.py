"""The paths of MCP endpoints as a configuration says them."""

import tomllib

import pytest

from crewgate.config.declaration import TableSchema
from crewgate.config.mcp import MCPConfig
from crewgate.config.toml_table_reader import TOMLTableReader

ENDPOINT = 'upstream = "files"\nprice = "0"\n'


@pytest.mark.parametrize("path", ["/mcp/*", "/mcp/{id}", "mcp", "/a/../b"])
def test_an_endpoint_has_one_path(path: str) -> None:
    """So the error shows no pattern as an example, which `path` and `rewrite` do not take."""
    wanted = 'expected one path such as "/files", without {} and *'
    for key, rest in (("path", ""), ("rewrite", 'path = "/mcp"\n')):
        problems: list[str] = []
        table = tomllib.loads(f'{ENDPOINT}{rest}{key} = "{path}"')
        section = TOMLTableReader(table, "mcp.files", problems)
        TableSchema(MCPConfig).read(section, {}, name="files")
        (problem,) = problems
        assert problem.startswith(f'mcp.files.{key} = "{path}": {wanted}')
