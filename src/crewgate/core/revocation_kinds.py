"""The kinds of revocation: a row for each, with everything in which one differs from another.

Agent, control API, commands, audit and the native core read this table. A new kind is a number in
`ids.KeyKind`, a row here, and the words by which people ask for it (`cli/commands/revoke`,
`api/schemas`).
"""

import enum
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.ids import KeyKind, branch_key, crew_key, serial_bytes, table_key, uuid_bytes
from crewgate.core.tokens.claims import Claims, is_text

_SERIAL = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


class WhenFull(enum.Enum):
    """What the agent does if the table, or the share of the crew, has no room for a revocation.

    COARSEN: if the share is used up, it revokes every token of the crew until now; if the table is
    full, it refuses. REFUSE: it refuses, because nothing else would keep out what was to be
    revoked. LEAVE_OUT: it goes on and counts it in the receipt; JWKS, CRL or OCSP refuse it too.
    """

    COARSEN = enum.auto()
    REFUSE = enum.auto()
    LEAVE_OUT = enum.auto()


class RevocationKind(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one kind.

    `identifier` makes the bytes that the key hashes from a name; its ValueError says what was
    expected and never repeats the name, which may be a piece of a token. `claim` is the claim of
    tokens that has the name: registry, tree and audit then have a field that is called as the kind.
    `request_field` is the member of `POST /v1/revocations`; without one the API does not take it.
    `of_configured_crew`: its name is one of a crew of the configuration, and `crewgate revoke`
    takes it; the CA begins the revocation of others, and the agent follows.

    `is_for_good`: later tokens are refused as well; else those issued until now. `has_own_end`: it
    is remembered until what was revoked ends by itself; else for `limits.revocation_seconds`.
    `share` is the part of its crew's places in the table that it may take (`agent/revocation`).
    `closes_account`: the ledger gives no more credit for it, for longer than the table remembers.
    """

    kind: KeyKind
    identifier: Callable[[str], bytes]
    request_field: str = ""
    claim: str = ""
    of_configured_crew: bool = False
    is_for_good: bool = False
    has_own_end: bool = False
    share: Literal["branch", "certificate"] | None = None
    when_full: WhenFull = WhenFull.REFUSE
    closes_account: bool = False

    @property
    def label(self) -> str:
        """The word for people, audit and API."""
        return self.kind.label

    @property
    def life_seconds_max(self) -> int:
        """How long one is remembered at most, by a clock that is right."""
        if self.has_own_end:
            return limits.gateway_life_seconds_max
        return limits.revocation_seconds


def _uuid(name: str) -> bytes:
    try:
        return uuid_bytes(name)
    except ValueError:
        raise ValueError(
            "expected a UUID in lower case, as `crewgate tree`, `audit` and `inspect` show it"
        ) from None


def _token_text(name: str) -> bytes:
    if not is_text(name):
        raise ValueError(
            "expected what a token says, as `crewgate tree`, `audit` and `inspect` show it: "
            f"1 to {limits.claim_chars_max} characters of A-Z a-z 0-9 . _ : / @ -"
        )
    return name.encode()


def _serial(name: str) -> bytes:
    if not _SERIAL.fullmatch(name):
        raise ValueError("expected a serial number in hexadecimal")
    return serial_bytes(int(name, 16))


def _crew(name: str) -> bytes:
    """Nothing: a crew's key hashes the crew alone."""
    if not name:
        raise ValueError("expected the name of a crew")
    return b""


_ROWS: Final = (
    RevocationKind(
        kind=KeyKind.BRANCH, identifier=_uuid, request_field="branch", claim="execution_branch_id",
        of_configured_crew=True, is_for_good=True, share="branch", when_full=WhenFull.COARSEN,
        closes_account=True,
    ),
    RevocationKind(
        kind=KeyKind.GRANT, identifier=_token_text, request_field="grant", claim="jti",
        of_configured_crew=True, is_for_good=True, share="branch", when_full=WhenFull.COARSEN,
    ),
    RevocationKind(
        kind=KeyKind.PROCESS, identifier=_token_text, request_field="process", claim="process_id",
        of_configured_crew=True, share="branch", when_full=WhenFull.COARSEN,
    ),
    RevocationKind(
        kind=KeyKind.CREW, identifier=_crew, request_field="all_tokens_of",
        of_configured_crew=True,
    ),
    RevocationKind(
        kind=KeyKind.CERTIFICATE, identifier=_serial, request_field="certificate",
        is_for_good=True, has_own_end=True, share="certificate", when_full=WhenFull.LEAVE_OUT,
    ),
    RevocationKind(
        kind=KeyKind.ORCHESTRATOR, identifier=str.encode, request_field="orchestrator",
        claim="client_id",
    ),
    RevocationKind(
        kind=KeyKind.KEY, identifier=str.encode, is_for_good=True, when_full=WhenFull.LEAVE_OUT,
        closes_account=True,
    ),
)  # fmt: skip

KINDS: Final[Mapping[int, RevocationKind]] = {each.kind: each for each in _ROWS}
BY_FIELD: Final = {each.request_field: each for each in _ROWS if each.request_field}
BY_CLAIM_LABEL: Final = {each.label: each for each in _ROWS if each.claim}
# What a token names besides its branches and its crew; `_native/token_cache` reads it too.
NAMED_IN_TOKENS: Final = tuple(
    each for each in _ROWS if each.claim and each.kind is not KeyKind.BRANCH
)


class RevocationTarget(msgspec.Struct, frozen=True):
    """One thing to be revoked, from the command or the API to the table.

    `name` is a branch's UUID, a grant's `jti`, a process' id, a crew, the serial of a certificate
    in hexadecimal, a `client_id`, or a kid. `crew` is whose it is; where it is empty, the agent
    finds out the crew of a branch that it has seen. `before` is for kinds that are not for good:
    tokens issued until then are dead (seconds since 1970; 0: now). `seconds` is for those that have
    an end of their own: how long that is from now.
    """

    kind: KeyKind
    name: Annotated[str, Meta(min_length=1, max_length=limits.claim_chars_max)]
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""
    seconds: Annotated[int, Meta(ge=0, le=limits.gateway_life_seconds_max)] = 0
    before: Annotated[int, Meta(ge=0, le=limits.time_seconds_max)] = 0

    @property
    def rules(self) -> RevocationKind:
        """The row of its kind."""
        return KINDS[self.kind]

    @property
    def key(self) -> bytes:
        """The key by which gates look it up; ValueError for a name that its kind cannot have."""
        return table_key(self.kind, self.crew, self.rules.identifier(self.name))

    def dead_until(self, wall: int) -> int:
        """Tokens issued until then are dead (seconds since 1970), if it is revoked at `wall`.

        A token may be dated up to the leeway ahead, so it counts as issued before then.
        """
        if self.rules.is_for_good:
            return limits.time_seconds_max
        return min(self.before or wall, wall) + limits.leeway_seconds

    def expires(self, wall: int) -> int:
        """When it may be forgotten; what ends by itself as much later as a clock may be wrong."""
        if self.rules.has_own_end:
            return wall + self.seconds + limits.clock_distrust_seconds
        return wall + limits.revocation_seconds


def keys_of(claims: Claims, kid: str) -> list[bytes]:
    """The key of everything that a token names and that can be revoked."""
    crew = claims.crew
    named = [
        table_key(each.kind, crew, getattr(claims, each.claim).encode()) for each in NAMED_IN_TOKENS
    ]
    branches = [claims.execution_branch_id, *(each.id for each in claims.branch_path)]
    return [
        *named,
        table_key(KeyKind.KEY, crew, kid.encode()),
        crew_key(crew),
        *(branch_key(crew, branch) for branch in branches),
    ]
