"""Checks that runs can begin with the tokens of each identity provider."""

from collections.abc import Iterator

from crewgate.config import Config
from crewgate.errors import ConfigurationError
from crewgate.identity_provider.key_sets import key_set
from crewgate.identity_provider.provider_request import provider_context


def identity_provider_errors(config: Config) -> Iterator[str]:
    """Yield files of identity providers that cannot be used, one line each."""
    for provider in config.identity_providers:
        try:
            provider_context(provider.ca)
        except ConfigurationError as error:
            yield f"identity provider {provider.name}: {error}"
        if provider.jwks is not None:
            keys = key_set(provider)
            keys.refresh()
            if keys.problem:
                yield f"identity provider {provider.name}: {keys.problem}"


def identity_provider_warnings(config: Config) -> Iterator[str]:
    """Yield providers whose keys cannot be downloaded from here."""
    for provider in config.identity_providers:
        if provider.jwks_url is not None:
            keys = key_set(provider)
            keys.refresh()
            if keys.problem:
                yield f"identity provider {provider.name}: no run can begin now: {keys.problem}"
