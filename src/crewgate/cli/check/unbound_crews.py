"""Finds crews whose tokens need no key: a copy of such a token is as good as the token."""

from collections.abc import Iterator

from crewgate.cli.check.crews_sharing_upstreams import crews_in_words
from crewgate.config import Config, CrewConfig


def unbound_crews(config: Config) -> Iterator[str]:
    """Yield a recommendation that names all such crews, if there are any."""
    crews = [crew.name for crew in config.crews if _is_unbound(crew)]
    if crews:
        yield (
            f"{crews_in_words(crews)}: tokens may name no key, and then everyone who reads one can "
            'use it until it ends; binding = "required" refuses such tokens'
        )


def _is_unbound(crew: CrewConfig) -> bool:
    """Return whether the crew, or one of the roles that it lists, needs no key."""
    return any(each.binding == "optional" for each in crew.roles or (crew,))
