"""A configuration as `serve` takes it: whole, with its keys, and within what the system grants.

And, once an agent serves, one that can follow on the one that the agent was started with.
"""

from pathlib import Path

from crewgate.config import Config, descriptors, load
from crewgate.config.fixed import require_same
from crewgate.errors import ConfigurationError
from crewgate.runtime.descriptors import most
from crewgate.verifier.policy import load_policy


def validated(path: Path) -> Config:
    """The configuration at `path`; ConfigurationError."""
    config = _whole(path)
    lack = "; ".join(descriptors.lacking(config, most()))
    if lack:
        raise ConfigurationError(f"{path}: {lack}")
    return config


def replacement(before: Config) -> Config:
    """What the file holds now, if the agent puts that in force in place of `before`.

    Raises:
        ConfigurationError: `before` stays in force, for the reason that this gives.
    """
    found = _whole(before.path)
    require_same(before, found)
    return found


def following(before: Config) -> Config:
    """What the file holds now; ConfigurationError also if it changes what cannot change."""
    found = validated(before.path)
    require_same(before, found)
    return found


def as_written(before: Config) -> Config:
    """What the file holds now; `before` while that is no good, and no process starts with it."""
    try:
        return validated(before.path)
    except ConfigurationError:
        return before


def _whole(path: Path) -> Config:
    """The configuration with keys that can be used; ConfigurationError."""
    config = load(path)
    load_policy(config, 0)
    return config
