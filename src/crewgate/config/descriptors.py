"""How many descriptors each process of a configuration needs, as a number with its sum.

Asks nothing of the system and changes nothing: each process compares and raises its own limit.
Connections of a listener are counted as the file says; where it says nothing a listener takes what
is left, and needs `limits.connections_least` at least.
"""

from collections.abc import Iterator

import msgspec

from crewgate import limits
from crewgate.config.model import Config

_SPARE = limits.descriptors_spare


class DescriptorNeed(msgspec.Struct, frozen=True):
    """Of one process. With fewer than `least` it must not start; `wanted` is what it can use."""

    process: str
    least: int
    wanted: int
    of: str  # what `least` is the sum of, for people


def worker(config: Config) -> DescriptorNeed:
    """Of each worker: a descriptor for each connection of a client, and of an upstream."""
    listeners, stated = len(config.listeners), config.limits.connections_max
    upstream = sum(each.connections for each in config.upstreams)
    least, wanted = stated or limits.connections_least, stated or limits.connections_max
    return DescriptorNeed(
        "a worker",
        listeners * least + upstream + _SPARE,
        listeners * wanted + upstream + _SPARE,
        f"{listeners} × {least} connections of clients, {upstream} of upstreams, {_SPARE} besides",
    )


def agent(config: Config) -> DescriptorNeed:
    """A connection is passed the table's descriptor; peers have a stream each way."""
    guests = config.workers + limits.link_guests_least
    peers = 0 if config.cluster is None else 2 * limits.cluster_peers_max
    return DescriptorNeed(
        "the agent",
        2 * guests + peers + _SPARE,
        2 * limits.link_connections_max + peers + _SPARE,
        f"2 × {guests} of workers and embedders, {peers} of peers, {_SPARE} besides",
    )


def control(config: Config) -> DescriptorNeed:
    """The API's connections, and questions about certificates."""
    least = 0 if config.control is None else limits.connections_least
    wanted = 0 if config.control is None else limits.control_connections_max
    besides = limits.ocsp_door_connections_max + _SPARE
    return DescriptorNeed(
        "the control process",
        least + besides,
        wanted + besides,
        f"{least} connections of [control], {besides - _SPARE} questions about certificates, "
        f"{_SPARE} besides",
    )


def listener_connections(config: Config, limit: int) -> int:
    """How many connections a listener takes, in a worker that may have `limit` descriptors."""
    spare = max(0, limit - worker(config).least) // max(1, len(config.listeners))
    return min(limits.connections_max, limits.connections_least + spare)


def control_connections(config: Config, limit: int) -> int:
    """How many connections the control API takes, in a process that may have `limit`."""
    spare = max(0, limit - control(config).least)
    return min(limits.control_connections_max, limits.connections_least + spare)


def lacking(config: Config, limit: int) -> Iterator[str]:
    """What cannot run with at most `limit` descriptors a process, and how to mend it."""
    needs = [agent(config)]
    if config.workers:
        needs.append(worker(config))
    if config.ca is not None:
        needs.append(control(config))
    for need in needs:
        if need.least > limit:
            yield (
                f"{need.process} needs {need.least:,} descriptors ({need.of}), and the hard limit "
                f"of a process is {limit:,} here: raise it (LimitNOFILE={need.least} in a unit of "
                f"systemd, `ulimit -Hn {need.least}` as root, --ulimit nofile= of a container)"
                + _or_lower(need)
            )


def _or_lower(need: DescriptorNeed) -> str:
    if need.process != "a worker":
        return ""
    return ", or lower [limits] connections_max or the `connections` of upstreams"
