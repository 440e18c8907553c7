"""Finds crews whose tokens need no key: a copy of such a token is as good as the token."""

from collections.abc import Iterator

from crewgate.config import Config


def unbound_crews(config: Config) -> Iterator[str]:
    """Yield a recommendation that names all such crews, if there are any."""
    crews = [crew.name for crew in config.crews if crew.binding == "optional"]
    if crews:
        one = len(crews) == 1
        named = f"crew {crews[0]}" if one else f"crews {', '.join(crews[:-1])} and {crews[-1]}"
        yield (
            f"{named}: tokens may name no key, and then everyone who reads one can use it until it "
            'ends; binding = "required" refuses such tokens'
        )
