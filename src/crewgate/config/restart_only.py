"""What of a configuration cannot change while a machine serves: by a reload or by a restart."""

from collections.abc import Iterator

from crewgate.config.cluster import wants_restart
from crewgate.config.model import Config
from crewgate.errors import ConfigurationError

WAY_OUT = "end `crewgate serve` and start it again"


def require_same(old: Config, new: Config) -> None:
    """ConfigurationError names what is another in `new` and must be as in `old`."""
    what = next(_fixed(old, new), None)
    if what is not None:
        raise ConfigurationError(f"{new.path}: {what} cannot change while serving; {WAY_OUT}")


def _fixed(old: Config, new: Config) -> Iterator[str]:
    """What its table and ledger are, what they know it by, and where its peers find it."""
    for name in ("state", "name"):
        if getattr(old, name) != getattr(new, name):
            yield name
    for name in ("table", "ledger"):
        if getattr(old, name) != getattr(new, name):
            yield f"[{name}]"
    yield from wants_restart(old.cluster, new.cluster)
    if old.cluster and old.ca and new.ca and old.ca.trust_domain != new.ca.trust_domain:
        yield "trust_domain of [ca], which its peers know it by,"
