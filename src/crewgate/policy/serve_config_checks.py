"""Validates a configuration for `serve`: its contents, its keys and the limits of the system.

For a reload, it also checks that the new configuration can replace the one that the agent was
started with.
"""

import errno
from pathlib import Path

from crewgate.config import (
    AdminConfig,
    Config,
    ControlConfig,
    ListenerConfig,
    file_descriptor_needs,
    load,
)
from crewgate.config.restart_only import require_same
from crewgate.errors import ConfigurationError
from crewgate.policy.argument_rules_loader import load_argument_rules
from crewgate.policy.loader import load_policy
from crewgate.runtime.descriptor_limit import most
from crewgate.runtime.listening import taken


def validated(path: Path) -> Config:
    """Return the configuration at `path`.

    Raises:
        ConfigurationError: The configuration, or a file of keys or schemas that it names, cannot be
            used.
    """
    config = load(path)
    load_policy(config, 0)
    load_argument_rules(config)
    _require_descriptors(config)
    return config


def following(before: Config) -> Config:
    """Return the configuration that is in the file now, if it can replace `before`.

    Raises:
        ConfigurationError: It cannot, so `before` stays active; the text says why.
    """
    found = validated(before.path)
    require_same(before, found)
    return found


def require_place(before: Config, after: Config) -> None:
    """Check that the system can serve `after` while the processes of `before` still serve.

    Raises:
        ConfigurationError: The limit of open files is too low, or another program, which may be
            another gateway of the same user, uses the port of a new listener.
    """
    _require_descriptors(after)
    # Compare ports only: our own workers may use the same port on one address or on all.
    ours = {each.port for each in before.listeners}
    for listener in after.listeners if after.workers else ():
        if listener.port not in ours:
            error = taken(listener.address, listener.port)
            if error is not None:
                raise cannot_listen(after.path, listener, error) from error


def cannot_listen(
    path: Path, listener: ListenerConfig | ControlConfig | AdminConfig, error: OSError
) -> ConfigurationError:
    """Return the error for a listener whose port cannot be bound; `path` is the configuration."""
    named = "[control]" if isinstance(listener, ControlConfig) else "[admin]"
    if isinstance(listener, ListenerConfig):
        named = f"listener {listener.name}"
    return cannot_bind(f"{path}: {named}", listener.address, listener.port, error)


def cannot_bind(
    section: str, address: str | None, port: int | None, error: OSError
) -> ConfigurationError:
    """Return the error for a port that cannot be bound; `section` is the place in the file."""
    why = f"{error.strerror}; give an address of this machine and a port that is free"
    if error.errno == errno.EADDRINUSE:
        why = (
            "another program, or another gateway, uses it; end it, or change `port` here; "
            "`crewgate init DIR --port PORT` makes a gateway with other ports"
        )
    return ConfigurationError(f"{section}: cannot listen on {address} port {port}: {why}")


def as_written(before: Config) -> Config:
    """Return the configuration that is in the file now, or `before` if that one is not valid."""
    try:
        return validated(before.path)
    except ConfigurationError:
        return before


def _require_descriptors(config: Config) -> None:
    lack = "; ".join(file_descriptor_needs.lacking(config, most()))
    if lack:
        raise ConfigurationError(f"{config.path}: {lack}")
