"""A configuration as `serve` takes it: whole, with its keys, and within what the system grants."""

from pathlib import Path

from crewgate.config import Config, descriptors, load
from crewgate.errors import ConfigurationError
from crewgate.runtime.descriptors import most
from crewgate.verifier.policy import load_policy


def validated(path: Path) -> Config:
    """The configuration at `path`; ConfigurationError."""
    config = load(path)
    load_policy(config, 0)
    lack = "; ".join(descriptors.lacking(config, most()))
    if lack:
        raise ConfigurationError(f"{path}: {lack}")
    return config
