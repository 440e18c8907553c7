"""Finds limits on running calls that refuse no call, or more than their operator expects."""

from collections.abc import Iterator

from crewgate.config import Config


def limit_warnings(config: Config) -> Iterator[str]:
    """Yield a warning for each limit on running calls that hardly does what it should."""
    for each in config.call_limits:
        limit, where = each.limit, f"limit.{each.name}"
        if limit.concurrent and not config.workers:
            yield (
                f"{where}: embedded verifiers do not know which calls run, and workers = 0, so the "
                "limit refuses no call; limit `calls` instead"
            )
        if limit.concurrent == 1:
            for endpoint in config.mcp:
                if limit.covers(endpoint.name):
                    yield (
                        f"{where}: a client that listens to the server of mcp.{endpoint.name} has "
                        "one running call all the time, so it can call no tool; write tools = "
                        f'["{endpoint.name}.*"], or set concurrent to 2'
                    )
