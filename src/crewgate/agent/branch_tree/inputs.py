"""Holds what the branch tree is made from. It is a copy, and no code changes it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from crewgate._native.records import BranchRecord
from crewgate.agent.branch_registry import BranchEntry
from crewgate.agent.branch_tree.remote_usage import RemoteUsage
from crewgate.agent.recent_activity import RecentActivity
from crewgate.core.policy.policy import CrewPolicy

IsRevoked = Callable[[bytes, int], bool]
_NO_OVERRUNS: Mapping[bytes, int] = {}
_NO_ACTIVITIES: Mapping[int, RecentActivity] = {}


class TreeInputs(NamedTuple):
    """The table's records, the registry's entries, and the amounts of other machines (`others`).

    `now` is the wall clock in seconds, `machine` the name of this one. `overruns` has the
    micro-credits by the key of the branch. `activities` are by record number. `revocations` is the
    table's number of changes to what `is_revoked` says.
    """

    records: Sequence[BranchRecord]
    entries: Mapping[bytes, BranchEntry]
    crews: Sequence[CrewPolicy]
    is_revoked: IsRevoked
    now: int
    others: Mapping[bytes, RemoteUsage]
    machine: str = ""
    overruns: Mapping[bytes, int] = _NO_OVERRUNS
    activities: Mapping[int, RecentActivity] = _NO_ACTIVITIES
    revocations: int = 0
