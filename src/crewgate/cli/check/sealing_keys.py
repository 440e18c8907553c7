"""Checks the file of the keys that seal ids of tools."""

from collections.abc import Iterator

from crewgate.config import Config
from crewgate.errors import ConfigurationError
from crewgate.runtime.sealing_key_file import read_sealing_keys


def sealing_key_errors(config: Config) -> Iterator[str]:
    """Yield why the file cannot be used; a missing one in its default place is made by `serve`."""
    try:
        read_sealing_keys(config.sealing_keys)
    except ConfigurationError as error:
        is_made = config.has_own_sealing_keys and isinstance(error.__cause__, FileNotFoundError)
        if not is_made:
            yield str(error)
