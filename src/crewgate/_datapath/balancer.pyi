"""Chooses the host of an upstream that gets the next call, and counts the calls of each host.

The classes are the part of `upstream.balancer` and `upstream.circuit_breaker` that each call needs.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Generic, TypeVar

_Breaker = TypeVar("_Breaker", bound=Admission)
_Host = TypeVar("_Host", bound=HostLoad[Any])

class Admission:
    """Whether a host gets calls: the part of its circuit breaker that a choice reads.

    - `admits`: calls pass
    - `doubt_until`: after a failed call, other hosts are preferred until then (monotonic seconds;
      0.0: no recent failure)
    """

    admits: bool
    doubt_until: float

    def __init__(self, *_: object) -> None: ...

class HostLoad(Generic[_Breaker]):
    """One host: its circuit breaker, the number of its calls under way, and whether it is gone."""

    @property
    def breaker(self) -> _Breaker: ...
    outstanding: int
    gone: bool

    def __init__(self, breaker: _Breaker) -> None: ...

class HostChooser(Generic[_Host]):
    """The hosts of one upstream in one worker."""

    def __init__(self, *_: object) -> None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_Host]: ...
    def set_hosts(self, hosts: Iterable[_Host]) -> None:
        """Choose among these hosts from now on."""
    def take(self, now: float, avoid: Collection[_Host] = ()) -> _Host | None:
        """Choose the host for a call and count the call as under way; None if none may be called.

        None means that there are no hosts, or that each one has an open circuit or is in `avoid`,
        the hosts where this call has failed before.
        """
    def give_back(self, host: _Host) -> None:
        """Count the end of a call.

        Raises:
            RuntimeError: no call of the host was under way.
        """
    def answered(self, host: _Host) -> None:
        """Count a call when the head of its response arrives."""
