"""The table of revocation kinds: a row for each, with all that differs between them.

The agent, the control API, the commands, the audit and the native core read this table. A new kind
needs a number in `ids.EntityKind`, a row here, and a way to request it (`cli/commands/revoke`,
`api/schemas`).
"""

import enum
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.ids import EntityKind, branch_key, crew_key, serial_bytes, table_key, uuid_bytes
from crewgate.core.tokens.claims import Claims, is_text

_SERIAL = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


class RevokedKeyLookup(Protocol):
    """The part of the shared table that answers whether a key is revoked."""

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:
        """Return whether `key` is revoked for what was issued at `issued_at` (epoch seconds)."""


class WhenFull(enum.Enum):
    """What the agent does if the table, or the share of the crew, has no room for a revocation.

    `COARSEN`: if the share is used up, it revokes all tokens of the crew issued until now; if the
    table is full, it refuses. `REFUSE`: it refuses, because nothing else would enforce the
    revocation. `LEAVE_OUT`: it continues, and counts the target in the receipt, because JWKS, CRL
    or OCSP enforce the revocation too.
    """

    COARSEN = enum.auto()
    REFUSE = enum.auto()
    LEAVE_OUT = enum.auto()


class RevocationKindRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one kind.

    `identifier` returns the bytes of a name that the key hashes; its ValueError says what it
    expected, but never repeats the name, which may be a part of a token. `claim` is the claim of
    tokens that has the name; registry, tree and audit then have a field with the label of the kind.
    `request_field` is its member in `POST /v1/revocations`; without one, the API does not accept
    the kind. `of_configured_crew`: targets belong to a configured crew, and `crewgate revoke`
    accepts them; for other kinds, the CA starts the revocation.

    `is_for_good`: later tokens are refused as well, not only those issued until now. `has_own_end`:
    the table keeps it until the target expires by itself, instead of for
    `limits.revocation_seconds`. `spans_crews`: a target without a crew is revoked in all crews, so
    a token has a second key for it. `share` is the part of its crew's entries in the table that it
    may take (`agent/revocation`). `closes_account`: the ledger grants no more credit to the target,
    for longer than the table keeps the revocation.
    """

    kind: EntityKind
    identifier: Callable[[str], bytes]
    request_field: str = ""
    claim: str = ""
    of_configured_crew: bool = False
    is_for_good: bool = False
    has_own_end: bool = False
    spans_crews: bool = False
    share: Literal["branch", "certificate"] | None = None
    when_full: WhenFull = WhenFull.REFUSE
    closes_account: bool = False

    @property
    def label(self) -> str:
        """The name of the kind for people, audit and API."""
        return self.kind.label

    def keys(self, crew: str, name: str) -> list[bytes]:
        """Return the keys by which the table knows what a token of `crew` names.

        Raises ValueError for a name of another form.
        """
        crews = [crew, ""] if self.spans_crews else [crew]
        return [table_key(self.kind, each, self.identifier(name)) for each in crews]

    @property
    def life_seconds_max(self) -> int:
        """The maximum time for which the table keeps one, if the clock is right."""
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
            "expected a text of a token, as `crewgate tree`, `audit` and `inspect` show it: "
            f"1 to {limits.claim_chars_max} characters of A-Z a-z 0-9 . _ : / @ -"
        )
    return name.encode()


def _serial(name: str) -> bytes:
    if not _SERIAL.fullmatch(name):
        raise ValueError("expected a serial number in hexadecimal")
    return serial_bytes(int(name, 16))


def _crew(name: str) -> bytes:
    """Return no bytes, because the key of a crew hashes only the crew."""
    if not name:
        raise ValueError("expected the name of a crew")
    return b""


_ROWS: Final = (
    RevocationKindRules(
        kind=EntityKind.BRANCH, identifier=_uuid, request_field="branch",
        claim="execution_branch_id", of_configured_crew=True, is_for_good=True, share="branch",
        when_full=WhenFull.COARSEN, closes_account=True,
    ),
    RevocationKindRules(
        kind=EntityKind.GRANT, identifier=_token_text, request_field="grant", claim="jti",
        of_configured_crew=True, is_for_good=True, share="branch", when_full=WhenFull.COARSEN,
    ),
    RevocationKindRules(
        kind=EntityKind.PROCESS, identifier=_token_text, request_field="process",
        claim="process_id", of_configured_crew=True, share="branch", when_full=WhenFull.COARSEN,
    ),
    RevocationKindRules(
        kind=EntityKind.CREW, identifier=_crew, request_field="all_tokens_of",
        of_configured_crew=True,
    ),
    RevocationKindRules(
        kind=EntityKind.CERTIFICATE, identifier=_serial, request_field="certificate",
        is_for_good=True, has_own_end=True, share="certificate", when_full=WhenFull.LEAVE_OUT,
    ),
    RevocationKindRules(
        kind=EntityKind.ORCHESTRATOR, identifier=str.encode, request_field="orchestrator",
        claim="client_id",
    ),
    RevocationKindRules(
        kind=EntityKind.KEY, identifier=str.encode, is_for_good=True, when_full=WhenFull.LEAVE_OUT,
        closes_account=True,
    ),
    RevocationKindRules(
        kind=EntityKind.SUBJECT, identifier=_token_text, request_field="subject", claim="sub",
        of_configured_crew=True, is_for_good=True, spans_crews=True, share="branch",
        when_full=WhenFull.COARSEN,
    ),
)  # fmt: skip

KINDS: Final[Mapping[int, RevocationKindRules]] = {each.kind: each for each in _ROWS}
BY_FIELD: Final = {each.request_field: each for each in _ROWS if each.request_field}
BY_CLAIM_LABEL: Final = {each.label: each for each in _ROWS if each.claim}
# The targets that a token names besides branches and crew; `_native/token_cache` reads this too.
NAMED_IN_TOKENS: Final = tuple(
    each for each in _ROWS if each.claim and each.kind is not EntityKind.BRANCH
)


class RevocationTarget(msgspec.Struct, frozen=True):
    """One target of a revocation, from the command or the API to the table.

    `name` is the UUID of a branch, the `jti` of a grant, the id of a process, a crew, the serial of
    a certificate (hexadecimal), a `client_id`, a kid, or a subject. `crew` is its crew; if it is
    empty, the agent finds the crew of a branch that it has seen, and a subject is one of all crews.
    `before` is for kinds that are not for good: tokens issued until then are revoked (seconds since
    the epoch; 0 means now). `seconds` is for kinds that have their own end: how long until then.
    """

    kind: EntityKind
    name: Annotated[str, Meta(min_length=1, max_length=limits.claim_chars_max)]
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""
    seconds: Annotated[int, Meta(ge=0, le=limits.gateway_life_seconds_max)] = 0
    before: Annotated[int, Meta(ge=0, le=limits.time_seconds_max)] = 0

    @property
    def rules(self) -> RevocationKindRules:
        """The rules of its kind."""
        return KINDS[self.kind]

    @property
    def key(self) -> bytes:
        """The key by which gates look it up. Raises ValueError for a name of another form."""
        return table_key(self.kind, self.crew, self.rules.identifier(self.name))

    def dead_until(self, wall: int) -> int:
        """Return until when issued tokens are revoked by a revocation at `wall` (both seconds).

        A token may be dated ahead by up to the leeway, so the leeway is added.
        """
        if self.rules.is_for_good:
            return limits.time_seconds_max
        return min(self.before or wall, wall) + limits.leeway_seconds

    def expires(self, wall: int) -> int:
        """Return when the table may forget it.

        For a target with its own end, the possible error of a clock is added.
        """
        if self.rules.has_own_end:
            return wall + self.seconds + limits.clock_distrust_seconds
        return wall + limits.revocation_seconds


def keys_of(claims: Claims, kid: str) -> list[bytes]:
    """Return the keys of all targets that a token names."""
    crew = claims.crew
    named = [
        key
        for each in NAMED_IN_TOKENS
        if each.kind is not EntityKind.SUBJECT
        for key in each.keys(crew, getattr(claims, each.claim))
    ]
    key = table_key(EntityKind.KEY, crew, kid.encode())
    return [*named, key, crew_key(crew), *branch_ending_keys(claims)]


def branch_ending_keys(claims: Claims) -> list[bytes]:
    """Return the keys whose revocation ends the branch of a token for good.

    They are those of the branch, of all branches above it, and of its subject.
    """
    branches = [claims.execution_branch_id, *(each.id for each in claims.branch_path)]
    return [
        *(branch_key(claims.crew, branch) for branch in branches),
        *subject_keys(claims.crew, claims.sub),
    ]


def subject_keys(crew: str, subject: str) -> list[bytes]:
    """Return the keys of a subject: in a crew, and in all crews."""
    return KINDS[EntityKind.SUBJECT].keys(crew, subject)
