"""Creates the gateways of the story with `crewgate init`, as a person would, on free ports.

The module adds to their configurations the tools and crews of the story, and each other as peers.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import trio

from crewgate.demo import ports
from crewgate.demo.alerts import ALERTS, new_secret
from crewgate.demo.gateway_process import FURTHER, TOOLS_OFFSET, DemoGatewaySpec, GatewayProcess
from crewgate.demo.ports import HOST
from crewgate.errors import DemoError

_CREWS = ("bd", "finance")
_TOOL = """
[tool."{name}"]
method = "POST"
path = "{path}"
upstream = "tools"
price = "0.01"
"""
_SUMMARY = _TOOL.format(name="summary.stream", path="/summary")
_ALERT = """
[alert.oncall]
format = "webhook"
url = "{url}"
secret = "{secret}"
kinds = ["rule"]
"""
# The tools that crew Finance owns.
_BORDER = "".join(
    _TOOL.format(name=f"finance.{name}", path=f"/{name}") + 'owner = "finance"\n'
    for name in ("balance", "statement")
)
_CEILING = 'tools = ["search.*", "embeddings.*", "publish.*"]'
_WIDER = 'tools = ["search.*", "embeddings.*", "publish.*", "summary.*"]'
_ALONE = "peers = []"
_LEDGER = 'url = "sqlite:state/ledger.db"'
_OBSERVED, _ENFORCED = 'mode = "observe"', 'mode = "enforce"'
_UNBOUND, _BOUND = 'binding = "optional"', 'binding = "required"'


async def build(folder: Path) -> DemoGatewaySpec:
    """Create the first gateway on free ports, with the tools, crews and peers of the story."""
    stage = DemoGatewaySpec(folder, ports.reserve(1 + len(FURTHER)))
    await _initialize(stage)
    peers = ", ".join(f'"{each.peer}"' for each in stage.further)
    changes = {
        _CEILING: _WIDER,
        _ALONE: f"peers = [{peers}]",
        _LEDGER: f"{_LEDGER}\nper_machine = true",
        _UNBOUND: _BOUND,
        _OBSERVED: _ENFORCED,
    }
    sections = [await stage.command("crew", crew, "--tools", "finance.*") for crew in _CREWS]
    crews = "".join(f"{section.decode()}{_BOUND}\n" for section in sections)
    new_secret(stage.alert_secret)
    alert = _ALERT.format(url=f"{stage.tools_url}{ALERTS}", secret=stage.alert_secret)
    _edit(stage, changes, _SUMMARY + crews + _BORDER + alert)
    return stage


async def join(gateway: GatewayProcess) -> None:
    """Create the further gateways of the domain, start them, and wait until they are ready."""
    await create_further(gateway.stage)
    async with trio.open_nursery() as nursery:
        for stage in gateway.stage.further:
            nursery.start_soon(gateway.for_stage(stage).start)


async def create_further(first: DemoGatewaySpec) -> None:
    """Run `crewgate init --from` twice: one worker, a ledger of its own, the same tool server."""
    for stage in first.further:
        stage.folder.mkdir()
        await _initialize(stage, "--from", str(first.config), "--budgets", "per-machine")
        here, there = (f"http://{HOST}:{each.port + TOOLS_OFFSET}" for each in (stage, first))
        _edit(stage, {here: there, "workers = 2": "workers = 1"})


async def _initialize(stage: DemoGatewaySpec, *options: str) -> None:
    command = ["init", str(stage.config.parent), "--port", str(stage.port), *options]
    try:
        await trio.run_process(
            [sys.executable, "-m", "crewgate.cli", *command],
            capture_stdout=True,
            capture_stderr=True,
        )
    except subprocess.CalledProcessError as error:
        raise DemoError(f"crewgate init failed: {error.stderr.decode().strip()}") from error


def _edit(stage: DemoGatewaySpec, changes: Mapping[str, str], more: str = "") -> None:
    """Replace texts of the configuration that `init` wrote, and append `more`."""
    text = stage.config.read_text()
    for old, new in changes.items():
        if old not in text:
            raise DemoError(
                f"{stage.config}: `crewgate init` wrote no `{old}`, which the story needs"
            )
        text = text.replace(old, new, 1)
    stage.config.write_text(text + more)
