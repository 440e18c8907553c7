"""Envoy's configuration as an MCP gateway: token, method and tool of the message, forward.

Its MCP filter reads the body of a call and gives method and tool to RBAC, which wants the tool in
the token's `allowed_tools`. Envoy marks this filter as work in progress. Like envoy.py: no credits,
revocations or audit.
"""

import json
from pathlib import Path
from typing import Any

from bench.hop.envoy import (
    Demand,
    authentication,
    claimed,
    cluster,
    limit,
    listener,
    named,
    rbac,
)

FILTER = "envoy.filters.http.mcp"


def said(value: str, *path: str) -> dict[str, Any]:
    """The permission for a message that has this value there."""
    return {
        "metadata": {
            "filter": FILTER,
            "path": [{"key": key} for key in path],
            "value": {"string_match": {"exact": value}},
        }
    }


def policies(tool: str, granted: str) -> dict[str, Any]:
    """A call of the tool for tokens that list `granted`; a session for all of them."""
    called = [said("tools/call", "method"), said(tool, "params", "name")]
    return {
        "0 call": {
            "permissions": [{"and_rules": {"rules": called}}],
            "principals": [claimed(granted)],
        },
        "1 session": {
            "permissions": [said("initialize", "method")],
            "principals": [{"any": True}],
        },
    }


def configuration(
    port: int,
    demand: Demand,
    pair: tuple[Path, Path],
    path: str,
    server: int,
    tool: tuple[str, str],
) -> str:
    """The whole of it, for `envoy --config-path`.

    `pair`: certificate and key. `path`: of the endpoint and of the server at the port `server`.
    `tool`: its name in MCP, and what a token lists for it.
    """
    mode = {"traffic_mode": "REJECT_NO_MCP"}
    filters = [
        authentication(demand),
        named(FILTER, "filters.http.mcp.v3.Mcp", **mode),
        rbac(policies(*tool)),
        limit(),
    ]
    routes = [{"match": {"path": path}, "route": {"cluster": "tools", "timeout": "0s"}}]
    resources = {
        "listeners": [listener(port, pair, filters, routes)],
        "clusters": [cluster("tools", server, h2=False)],
    }
    return json.dumps({"static_resources": resources}, indent=2)
