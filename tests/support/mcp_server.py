"""A server of the Model Context Protocol with one tool, `count`, at /mcp: `mcp_server.py PORT`."""

import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("otters", log_level="ERROR")


@server.tool()
async def count(things: str, to: int, ctx: Context) -> str:
    """Count things, and report each."""
    for number in range(1, to + 1):
        await ctx.report_progress(number, to)
    return f"{to} {things}"


if __name__ == "__main__":
    server.run("streamable-http", port=int(sys.argv[1]))
