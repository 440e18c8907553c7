"""Limits how often a person may do something that costs machines work."""

from collections import OrderedDict

import trio

from crewgate import limits
from crewgate.core.problem_types import TOO_MANY_REQUESTS
from crewgate.core.rate_limit import TokenBucket


class PersonLimiter:
    """Limits how often each person may do one thing; `what` says in words which one."""

    def __init__(self, what: str, per_second: float, burst: int) -> None:
        self._what, self._per_second, self._burst = what, per_second, burst
        self._persons: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, person: str) -> None:
        """Count one time. Raises ControlError 429 if the person does it too often."""
        bucket = self._persons.pop(person, None) or TokenBucket(self._per_second, self._burst)
        self._persons[person] = bucket
        while len(self._persons) > limits.ui_persons_max:
            self._persons.popitem(last=False)
        if not bucket.take(trio.current_time()):
            raise TOO_MANY_REQUESTS.error(
                f"{person} may {self._what} {self._per_second:g} times a second; retry later"
            )
