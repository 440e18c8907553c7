"""Finds crews whose tokens need no key: a copy of such a token is as good as the token."""

from collections.abc import Iterator

from crewgate.cli.check.crews_sharing_upstreams import crews_in_words
from crewgate.config import Config


def unbound_crews(config: Config) -> Iterator[str]:
    """Yield a recommendation that names all such crews, if there are any."""
    crews = [crew.name for crew in config.crews if crew.binding == "optional"]
    if crews:
        yield (
            f"{crews_in_words(crews)}: tokens may name no key, and then everyone who reads one can "
            'use it until it ends; binding = "required" refuses such tokens'
        )
