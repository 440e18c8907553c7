"""Finds changed keys that a reload cannot apply, because the machine must start again."""

from collections.abc import Iterator

from crewgate.config.declaration import Table
from crewgate.config.model import CONFIG, Config
from crewgate.errors import ConfigurationError

WAY_OUT = "end `crewgate serve` and start it again, or take the change back"


def require_same(old: Config, new: Config) -> None:
    """Raise a ConfigurationError if `new` changes a key of `old` that needs a restart."""
    key = next(wants_restart(old, new), None)
    if key is not None:
        raise ConfigurationError(f"{new.path}: {key} cannot change while serving; {WAY_OUT}")


def wants_restart(old: Config, new: Config) -> Iterator[str]:
    """Yield the name of each key that differs in `new` and needs a restart to take effect."""
    for field, part in CONFIG:
        before, after = getattr(old, field), getattr(new, field)
        if part.restart and before != after:
            yield f"[{part.key(field)}]" if isinstance(part, Table) else part.key(field)
        elif isinstance(part, Table):
            yield from _of_table(part.key(field), part, before, after)
    if old.cluster and old.ca and new.ca:
        if old.ca.trust_domain != new.ca.trust_domain:
            yield "trust_domain of [ca], by which peers know this machine,"
        if old.ca.identity_oids != new.ca.identity_oids:
            yield "identity_oid or accepted_identity_oids of [ca], by which it knows its peers,"


def _of_table(name: str, table: Table, before: object, after: object) -> Iterator[str]:
    fixed = [(field, part) for field, part in table.of if part.restart]
    if fixed and (before is None or after is None):
        if before is not after:
            yield f"[{name}]"
        return
    for field, part in fixed:
        if getattr(before, field) != getattr(after, field):
            yield f"{part.key(field)} of [{name}]"
