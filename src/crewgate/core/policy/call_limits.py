"""Limits on calls, and which calls share a bucket: rates in a time, and calls under way at once.

A limit has a bucket for each *scope*: each tool, crew, role, branch or run, or the whole machine.
This module says which scope of a limit a call has. It names all scopes of a policy, so that the
agent can give each one its words in the shared table before a call needs them.

A scope never depends on what a client can invent. Parts of an endpoint that no table and no limit
names share the scope of the endpoint. So do the roles of a crew that does not list them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol

import msgspec

from crewgate import limits
from crewgate.core import cross_crew_accounts
from crewgate.core.http_types import HeaderField
from crewgate.core.policy.scope import matches, reaches

Per = Literal["tool", "crew", "role", "branch", "run", "machine"]
_OF_BRANCHES = frozenset({"branch", "run"})
_NS = 10**9


class CallLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on the calls of some tools, by a crew or role or by all.

    Attributes:
        name: Its name in the configuration and in answers.
        per: What has a bucket of its own.
        crew: The crew whose calls it limits; empty for all.
        role: The role whose calls it limits; empty for all.
        tools: Names and patterns of the tools; empty for all.
        calls: Calls in `seconds`; 0 if it limits the calls under way.
        seconds: Time in which a bucket gains `calls`.
        burst: Calls that a full bucket has.
        concurrent: Calls under way at the same time; 0 if it limits the rate.
        observe: Whether it refuses nothing, and the audit says which calls it would have refused.
    """

    name: str
    per: Per
    crew: str = ""
    role: str = ""
    tools: tuple[str, ...] = ()
    calls: int = 0
    seconds: int = 1
    burst: int = 1
    concurrent: int = 0
    observe: bool = False

    @property
    def interval_ns(self) -> int:
        """The nanoseconds in which a bucket gains one call, rounded up."""
        return -(-self.seconds * _NS // self.calls) if self.calls else 0

    @property
    def is_of_branches(self) -> bool:
        """Whether each branch has words of this limit beside its record in the table."""
        return self.per in _OF_BRANCHES

    @property
    def words(self) -> int:
        """The words that one bucket needs."""
        return self.concurrent or 1

    def covers(self, tool_id: str) -> bool:
        """Return whether it limits a tool, or a part of an endpoint, by its id."""
        return not self.tools or any(matches(each, tool_id) for each in self.tools)

    def keys(self, scope: str) -> list[int]:
        """Return the keys of the cells, or of the words of a branch, for one scope.

        A rate has other keys if anything about it changes but `observe`, so it begins with full
        buckets. Calls under way stay counted while the limit keeps its name and `per`. But if
        `concurrent` becomes lower, some of those that run already are not counted any more.
        """
        identity: tuple[object, ...] = (self.name, self.per)
        if self.calls:
            rate = self.calls, self.seconds, self.burst
            identity = (*identity, self.crew, self.role, self.tools, *rate)
        each = 1 if self.is_of_branches else limits.table_limit_cell_words
        return [
            _key((*identity, scope, number)) for number in range((self.words + each - 1) // each)
        ]


class LimitedTool(Protocol):
    """A tool as limits see it."""

    @property
    def name(self) -> str:
        """Its id, or the name of an endpoint."""

    @property
    def is_endpoint(self) -> bool:
        """Whether calls name the part that they use there."""


class LimitedCrew(Protocol):
    """A crew, or an account of calls by certificate, as limits see it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def roles(self) -> Mapping[str, object]:
        """The roles that it lists."""


class LimitedPolicy(Protocol):
    """A policy as limits see it."""

    @property
    def limits(self) -> Sequence[CallLimit]:
        """Its limits."""

    @property
    def tools(self) -> Sequence[LimitedTool]:
        """Its tools; the number of a tool is its place."""

    @property
    def crews(self) -> Sequence[LimitedCrew]:
        """Its crews and accounts."""


class LimitReached(msgspec.Struct, frozen=True, gc=False):
    """The limit for which a call was refused.

    Attributes:
        name: The name of the limit: the NAME in [limit.NAME].
        per: What has a bucket of its own: "tool", "crew", "role", "branch", "run" or "machine".
        quota: Calls in `window_seconds`, or calls under way at the same time.
        window_seconds: 0 if the limit is about the calls under way.
        burst: Calls that a full bucket has; 0 if the limit is about the calls under way.
        left_seconds: After how many seconds to try again, at least 1. For a rate, the call can pass
            then unless others come first. For calls under way, this is a guess.
    """

    name: str
    per: str
    quota: int
    window_seconds: int
    burst: int
    left_seconds: int

    @property
    def detail(self) -> str:
        """What happened and what to do, for a person or a model."""
        each = "this machine" if self.per == "machine" else f"each {self.per}"
        if not self.window_seconds:
            return (
                f"The limit {self.name} lets {each} have {_counted(self.quota, 'running call')}, "
                "and so many run now. Nothing was charged. Wait until one of them has ended, and "
                "then retry."
            )
        time = _counted(self.window_seconds, "second")
        return (
            f"The limit {self.name} lets {each} make {_counted(self.quota, 'call')} in {time}. "
            f"Nothing was charged. Retry in {_counted(self.left_seconds, 'second')}, and call less "
            "often."
        )

    @property
    def fields(self) -> list[HeaderField]:
        """The fields of a refusal (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4)."""
        name = f'"{self.name}"'
        if not self.window_seconds:
            policy = f'{name};q={self.quota};qu="concurrent-requests"'
            return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", f"{name};r=0".encode())]
        policy = f"{name};q={self.quota};w={self.window_seconds}"
        if self.burst != self.quota:
            policy += f";crewgate-burst={self.burst}"
        now = f"{name};r=0;t={self.left_seconds}"
        return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())]


def limit_reached(limit: CallLimit, wait_ns: int) -> LimitReached:
    """Return what a caller of `limit` is told; one that must wait for a rate does so `wait_ns`."""
    if limit.concurrent:
        seconds = limits.concurrency_retry_seconds
        return LimitReached(limit.name, limit.per, limit.concurrent, 0, 0, seconds)
    seconds = max(1, -(-wait_ns // _NS))
    return LimitReached(limit.name, limit.per, limit.calls, limit.seconds, limit.burst, seconds)


class LimitWords(NamedTuple):
    """The keys of all that the limits of a policy need in the table.

    `cells` are those of scopes that the configuration names. `words` are those of each branch.
    """

    cells: list[int]
    words: list[int]


class LimitScopes:
    """The scopes of all limits of one policy."""

    def __init__(
        self,
        found: Iterable[CallLimit],
        tools: Iterable[LimitedTool],
        crews: Iterable[LimitedCrew],
    ) -> None:
        self.limits = tuple(found)
        self._tools = tuple(tools)
        self._roles = {
            crew.name: frozenset(crew.roles)
            for crew in crews
            if not cross_crew_accounts.is_account(crew.name)
        }

    @classmethod
    def of(cls, policy: LimitedPolicy) -> "LimitScopes":
        """Return those of a policy of the gate."""
        return cls(policy.limits, policy.tools, policy.crews)

    def scope(
        self, limit: CallLimit, crew: str, role: str, tool: int, part: str | None
    ) -> str | None:
        """Return the scope of a call; None if the limit is not about it.

        `crew` may be an account. `tool` is a number of the policy, and `part` the id of what the
        call uses at an endpoint, if the number is that of the endpoint.
        """
        caller = cross_crew_accounts.caller(crew)
        name = self._tools[tool].name
        if limit.crew not in {"", caller} or limit.role not in {"", role}:
            return None
        if not limit.covers(name if part is None else part):
            return None
        if limit.per == "tool":
            return part if part is not None and part in limit.tools else name
        if limit.per == "crew":
            return caller
        if limit.per == "role":
            known = role == limit.role or role in self._roles.get(caller, ())
            return _role(caller, role if known else "")
        return ""

    def all_of(self, limit: CallLimit) -> list[str]:
        """Return every scope that a call can have, without repeats."""
        return list(dict.fromkeys(self._all_of(limit)))

    def needed(self) -> LimitWords:
        """Return the keys of all words that the limits need, each once."""
        needed = LimitWords([], [])
        for limit in self.limits:
            kept = needed.words if limit.is_of_branches else needed.cells
            for scope in self.all_of(limit):
                kept += limit.keys(scope)
        return needed

    def sizes(self) -> tuple[int, int]:
        """Return how many cells, and how many words of each branch, the limits need."""
        cells = words = 0
        for limit in self.limits:
            if limit.is_of_branches:
                words += limit.words
            else:
                each = limits.table_limit_cell_words
                cells += len(self.all_of(limit)) * -(-limit.words // each)
        return cells, words

    def _all_of(self, limit: CallLimit) -> Iterator[str]:
        crews = [limit.crew] if limit.crew else list(self._roles)
        if limit.per == "tool":
            yield from (tool.name for tool in self._tools if _concerns(limit, tool))
            yield from (each for each in limit.tools if not each.endswith(".*"))
        elif limit.per == "crew":
            yield from crews
        elif limit.per == "role":
            for crew in crews:
                roles = [limit.role] if limit.role else [*self._roles.get(crew, ()), ""]
                yield from (_role(crew, role) for role in roles)
        else:
            yield ""


def _concerns(limit: CallLimit, tool: LimitedTool) -> bool:
    return limit.covers(tool.name) or (
        tool.is_endpoint and any(reaches(each, tool.name) for each in limit.tools)
    )


def _role(crew: str, role: str) -> str:
    return f"{crew}/{role}"


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _key(parts: tuple[object, ...]) -> int:
    """Return 64 bits, never 0. The operator chooses what is hashed, and no client does."""
    digest = blake2b(msgspec.json.encode(parts), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1
