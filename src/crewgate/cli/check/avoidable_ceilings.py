"""Finds ceilings of orchestrators that a signing key of their crew can avoid."""

from collections.abc import Iterator

from crewgate.config import Config
from crewgate.errors import ConfigurationError
from crewgate.policy.loader import crew_keys


def avoidable_ceilings(config: Config) -> Iterator[str]:
    """Yield a recommendation for each crew with such ceilings, if its JWKS file can be read."""
    for crew in config.crews:
        if not crew.orchestrators:
            continue
        try:
            free = [key.kid for key in crew_keys(crew) if key.orchestrator is None]
        except ConfigurationError:
            continue  # an error about this file is listed already
        if free:
            yield (
                f"crew {crew.name}: key {free[0]} may sign for every orchestrator, so its owner "
                f"can avoid each ceiling in [crew.{crew.name}.orchestrator]; write "
                f'"orchestrator": "{crew.name}/NAME" into the key in {crew.jwks}'
            )
