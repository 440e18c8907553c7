"""Machines as `crewgate init` and `init --from` write them, which know one another; none runs yet.

Each has a folder, a ledger of its own, and one worker, if a gateway is served from it at all.
"""

import re
from pathlib import Path

from bench.hop.stage import crewgate
from crewgate.config import ClusterConfig as Settings
from crewgate.config import Config, load
from crewgate.demo.ports import reserve

NAMES = ("a", "b", "c")
CLUSTER_ABOVE = 3  # where `init` has a machine listen to its peers
PEERS = re.compile(r"^peers = \[.*?\]", re.MULTILINE)
ANY = 'staleness_quorum = "any"\n'
ALONE = 'url = "sqlite:state/ledger.db"'
PER_MACHINE = "per_machine = true"


def arrange(folder: Path, count: int = len(NAMES), more: str = "") -> list[Config]:
    """So many machines; `more` is put at the end of each one's configuration."""
    ports = [reserve() for _ in range(count)]
    files = [folder / name / "crewgate.toml" for name in NAMES[:count]]
    for file, port in zip(files, ports, strict=True):
        origin = ["--from", str(files[0]), "--budgets", "per-machine"] if file != files[0] else []
        crewgate("init", str(file.parent), *origin, "--port", str(port))
    for file, port in zip(files, ports, strict=True):
        others = [f'"127.0.0.1:{each + CLUSTER_ABOVE}"' for each in ports if each != port]
        text = changed(file.read_text(encoding="utf-8"), others) + more
        file.write_text(text, encoding="utf-8")
    return [load(file) for file in files]


def settings_of(config: Config) -> Settings:
    """Its [cluster]."""
    if config.cluster is None:
        raise SystemExit("bench: `crewgate init` no longer writes [cluster]; mend machines.py")
    return config.cluster


def changed(text: str, peers: list[str]) -> str:
    """What `init` wrote, with these peers, budgets of its own, and a majority to be in touch with.

    Ends the run if it wrote something else.
    """
    if PER_MACHINE not in text:
        text = text.replace(ALONE, f"{ALONE}\n{PER_MACHINE}")
    text, count = PEERS.subn(f"peers = [{', '.join(peers)}]", text.replace(ANY, ""))
    if count != 1 or PER_MACHINE not in text or "workers = 2" not in text:
        raise SystemExit("bench: `crewgate init` writes another file; mend machines.py")
    return text.replace("workers = 2", "workers = 1")
