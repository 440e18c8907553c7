"""Checks the file of the keys that seal ids of tools."""

from collections.abc import Iterator

from crewgate.config import Config
from crewgate.errors import ConfigurationError
from crewgate.runtime.sealing_key_file import read_sealing_keys


def sealing_key_errors(config: Config) -> Iterator[str]:
    """Yield why the file cannot be used; a missing one in its default place is made by `serve`.

    A folder that cannot hold the file is the business of `state_folder_access`.
    """
    try:
        read_sealing_keys(config.sealing_keys)
    except ConfigurationError as error:
        is_missing = isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError))
        if not (config.has_own_sealing_keys and is_missing):
            yield str(error)


def sealing_key_warnings(config: Config) -> Iterator[str]:
    """Yield whether each machine of a cluster makes keys of its own."""
    has_peers = config.cluster is not None and config.cluster.peers
    if has_peers and config.seals_ids and config.has_own_sealing_keys:
        yield (
            f"{config.sealing_keys}: this machine makes its own sealing keys, so a task or session "
            "of an endpoint is unknown at the other machines; copy the file to each of them, and "
            "name it in all configurations: sealing_keys"
        )
