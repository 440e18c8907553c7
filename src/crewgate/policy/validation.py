"""A configuration as `serve` takes it: whole, with its keys, and within what the system grants.

And, once an agent serves, one that can follow on the one that the agent was started with.
"""

import errno
from pathlib import Path

from crewgate.config import Config, ControlConfig, ListenerConfig, descriptors, load
from crewgate.config.restart_only import require_same
from crewgate.errors import ConfigurationError
from crewgate.policy.loader import load_policy
from crewgate.runtime.descriptors import most
from crewgate.runtime.listening import taken


def validated(path: Path) -> Config:
    """The configuration at `path`, with keys that can be used; ConfigurationError."""
    config = load(path)
    load_policy(config, 0)
    _require_descriptors(config)
    return config


def following(before: Config) -> Config:
    """What the file holds now, if it can follow on `before`.

    Raises:
        ConfigurationError: `before` stays in force, for the reason that this gives.
    """
    found = validated(before.path)
    require_same(before, found)
    return found


def require_place(before: Config, after: Config) -> None:
    """Require what the system has to grant for `after` while the processes of `before` serve.

    Raises:
        ConfigurationError: A process may have too few descriptors, or another program, which may
            be another gateway of the same user, is on a port that a listener is to have.
    """
    _require_descriptors(after)
    # By port: our own workers are in the way of another address there, of all addresses or one.
    ours = {each.port for each in before.listeners}
    for listener in after.listeners if after.workers else ():
        if listener.port not in ours:
            error = taken(listener.address, listener.port)
            if error is not None:
                raise cannot_listen(str(after.path), listener, error) from error


def cannot_listen(
    where: str, listener: ListenerConfig | ControlConfig, error: OSError
) -> ConfigurationError:
    """The error for a listener whose port is not to be had."""
    named = f"listener {listener.name}" if isinstance(listener, ListenerConfig) else "[control]"
    why = f"{error.strerror}; give an address of this machine and a port that is free"
    if error.errno == errno.EADDRINUSE:
        why = "another program, or another gateway, is there; end it, or choose another port"
    return ConfigurationError(
        f"{where}: {named}: cannot listen on {listener.address} port {listener.port}: {why}"
    )


def as_written(before: Config) -> Config:
    """What the file holds now; `before` while that is no good, and no process starts with it."""
    try:
        return validated(before.path)
    except ConfigurationError:
        return before


def _require_descriptors(config: Config) -> None:
    lack = "; ".join(descriptors.lacking(config, most()))
    if lack:
        raise ConfigurationError(f"{config.path}: {lack}")
