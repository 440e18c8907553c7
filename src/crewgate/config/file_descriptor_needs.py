"""Computes how many descriptors each process of a configuration needs.

This module does not ask the system: each process compares the number with its own limit and raises
that. Without `connections_max` in the file, a listener takes what is left, and needs at least
`limits.connections_min`.
"""

from collections.abc import Iterator

import msgspec

from crewgate import limits
from crewgate.config.model import Config

_SPARE = limits.descriptors_spare


class FileDescriptorNeed(msgspec.Struct, frozen=True):
    """The need of one process: it cannot start with fewer than `least`, and can use `wanted`.

    `of` lists the terms of `least`, for people.
    """

    process: str
    least: int
    wanted: int
    of: str


def worker(config: Config) -> FileDescriptorNeed:
    """Return the need of each worker: a descriptor for each client and upstream connection."""
    listeners, stated = len(config.listeners), config.limits.connections_max
    upstream = sum(each.connections for each in config.upstreams)
    least, wanted = stated or limits.connections_min, stated or limits.connections_max
    return FileDescriptorNeed(
        "a worker",
        listeners * least + upstream + _SPARE,
        listeners * wanted + upstream + _SPARE,
        f"{listeners} × {least} for clients, {upstream} for upstreams, {_SPARE} for the rest",
    )


def agent(config: Config) -> FileDescriptorNeed:
    """Return the need of the agent: two for each attached process, and two streams per peer.

    An attached process needs its connection, and the table's descriptor that it is passed. Streams
    for the questions of people come on top.
    """
    processes = config.workers + limits.ipc_attachments_min
    asked = 2 * limits.members_asked_at_once
    peers = 0 if config.cluster is None else 2 * limits.cluster_peers_max + asked
    return FileDescriptorNeed(
        "the agent",
        2 * processes + peers + _SPARE,
        2 * limits.ipc_connections_max + peers + _SPARE,
        f"2 × {processes} for workers and embedders, {peers} for peers, {_SPARE} for the rest",
    )


def control(config: Config) -> FileDescriptorNeed:
    """Return the need of the control process, for its API and its OCSP responder."""
    least = 0 if config.control is None else limits.connections_min
    wanted = 0 if config.control is None else limits.control_connections_max
    rest = limits.ocsp_socket_connections_max + _SPARE
    return FileDescriptorNeed(
        "the control process",
        least + rest,
        wanted + rest,
        f"{least} for [control], {rest - _SPARE} for OCSP, {_SPARE} for the rest",
    )


def listener_connections(config: Config, limit: int) -> int:
    """Return how many connections a listener takes in a worker with `limit` descriptors."""
    spare = max(0, limit - worker(config).least) // max(1, len(config.listeners))
    return min(limits.connections_max, limits.connections_min + spare)


def control_connections(config: Config, limit: int) -> int:
    """Return how many connections the control API takes in a process with `limit` descriptors."""
    spare = max(0, limit - control(config).least)
    return min(limits.control_connections_max, limits.connections_min + spare)


def lacking(config: Config, limit: int) -> Iterator[str]:
    """Yield a message for each process that needs more than `limit` descriptors."""
    needs = [agent(config)]
    if config.workers:
        needs.append(worker(config))
    if config.ca is not None:
        needs.append(control(config))
    for need in needs:
        if need.least > limit:
            yield (
                f"{need.process} needs {need.least:,} descriptors ({need.of}), and the hard limit "
                f"of a process is {limit:,} here: raise it (LimitNOFILE={need.least} in a systemd "
                f"unit, `ulimit -Hn {need.least}` as root, --ulimit nofile= of a container)"
                + _or_lower(need)
            )


def _or_lower(need: FileDescriptorNeed) -> str:
    if need.process != "a worker":
        return ""
    return ", or lower [limits] connections_max or the `connections` of upstreams"
