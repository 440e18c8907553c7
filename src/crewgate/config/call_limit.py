"""The tables [limit.NAME]: how often tools may be called, and how many calls may run at once.

Each machine counts for itself. `core/policy/call_limits.py` says which calls share a bucket.
"""

from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.values import Mode, Name
from crewgate.core.policy.call_limits import CallLimit, Per

_ALL = "all"
Tools = Annotated[
    tuple[str, ...], values.listed(values.TOOL_PATTERN, limits.allowed_tools_max, min_count=1)
]
_Calls = Annotated[int | None, values.integer(1, limits.call_limit_calls_max)]


class CallLimitConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on calls: a rate, or a number of calls that run at the same time."""

    name: str
    per: Annotated[
        Per,
        "What has a count of its own: each tool, crew, role of a crew, branch, or run (a root "
        'branch with all below it). With "machine", all calls have one count.',
    ]
    calls: Annotated[
        _Calls, "Calls in `seconds`.", Key(absent="no limit; `concurrent` is then required")
    ] = None
    seconds: Annotated[
        int,
        values.integer(1, limits.call_limit_seconds_max),
        "Time in which `calls` can be made.",
    ] = 1
    burst: Annotated[
        _Calls,
        "Calls that can be made at once after a pause. With 1, calls are evenly apart.",
        Key(absent="`calls`"),
    ] = None
    concurrent: Annotated[
        int | None,
        values.integer(1, limits.concurrent_calls_max),
        "Calls that can run at the same time.",
        Key(absent="no limit; `calls` is then required"),
    ] = None
    crew: Annotated[Name, "Limit the calls of this crew only.", Key(absent=_ALL)] = ""
    role: Annotated[str, values.CLAIM, "Limit the calls of this role only.", Key(absent=_ALL)] = ""
    tools: Annotated[
        Tools, "Limit the calls of these tools only, by name or pattern.", Key(absent=_ALL)
    ] = ()
    mode: Annotated[
        Mode,
        '"observe": refuse no call; the audit says which calls the limit would have refused.',
    ] = "enforce"

    def check(self, section: TOMLTableReader) -> None:
        """Note keys that contradict each other."""
        if (self.calls is None) == (self.concurrent is None):
            section.problem("expected either calls or concurrent")
        if self.calls is None:
            for key in ("seconds", "burst"):
                if key in section.given:
                    section.problem("is about calls in a time, and `calls` is missing", key)
            return
        refill = (self.burst or self.calls) * self.seconds
        if refill > limits.call_limit_refill_seconds_max * self.calls:
            section.problem(
                "a client that has used up the burst has it back only after "
                f"{refill // self.calls:,} seconds; at most "
                f"{limits.call_limit_refill_seconds_max:,} are possible",
                "burst",
            )

    @property
    def limit(self) -> CallLimit:
        """The limit as the gate has it."""
        return CallLimit(
            name=self.name,
            per=self.per,
            crew=self.crew,
            role=self.role,
            tools=self.tools,
            calls=self.calls or 0,
            seconds=self.seconds,
            burst=self.burst or self.calls or 1,
            concurrent=self.concurrent or 0,
            observe=self.mode == "observe",
        )
