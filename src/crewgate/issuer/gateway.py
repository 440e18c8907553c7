"""What ties an issuer to one machine: its configuration file, and its agent's owner door.

The only part of the issuer that knows either. Minting needs no running gateway: without one
nothing more is known of what was spent, and that is said in the log.
"""

import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from crewgate.config import Config, load
from crewgate.errors import ConfigurationError, LinkError
from crewgate.issuer.mint import Minter
from crewgate.issuer.signing import SigningKey
from crewgate.link.messages import Receipt
from crewgate.link.owner import Owner
from crewgate.verifier.policy import load_policy

_log = logging.getLogger(__name__)


def minter_of(path: Path | str, crew: str, name: str | None = None) -> tuple[Config, Minter]:
    """The configuration in `path` and what mints for `crew` (as `<crew>/<name>`) by it.

    ConfigurationError if the file, the crew, its keys or its signing key cannot be used.
    """
    config = load(Path(path))
    section = config.crew(crew)
    if section.signing_key is None:
        raise ConfigurationError(
            f"{config.path}: crew {crew} has no signing_key: name the PEM file of its private key"
        )
    policy = load_policy(config, 1)
    keys = tuple(key for key in policy.keys if key.crew == crew)
    key = SigningKey.load(section.signing_key, keys, str(section.jwks))
    ceilings = next(ceiling for ceiling in policy.crews if ceiling.name == crew)
    return config, Minter(ceilings, config.audience, key, name)


def journal_of(config: Config, minter: Minter) -> Path:
    """Where the journal of that orchestrator is kept on this machine."""
    return config.state / "issuer" / f"{minter.client_id.replace('/', '+')}.jsonl"


def process_name() -> str:
    """The `process_id` of what runs in this process."""
    return f"pid_{os.getpid()}"


class Gateway:
    """The gateway of this machine, as its owner sees it through the agent's socket."""

    def __init__(self, state: Path, crew: str) -> None:
        self._state = state
        self._crew = crew

    def __repr__(self) -> str:
        return f"<Gateway at {self._state} for crew {self._crew}>"

    def spent(self, branches: Collection[str]) -> Mapping[str, int]:
        """Micro-credits that are gone or held for calls, by branch, with all below it."""
        try:
            with Owner(self._state) as owner:
                rows = owner.tree()
        except LinkError as error:
            _log.warning("what was spent is not known, only grants are compared: %s", error)
            return {}
        return {
            row.branch: row.spent + row.reserved + row.burned
            for row in rows
            if row.crew == self._crew and row.branch in branches
        }

    def revoke(self, branch: str) -> Receipt:
        """End a branch on this machine; LinkError if the agent cannot be reached."""
        with Owner(self._state) as owner:
            return owner.revoke(branch, self._crew)
