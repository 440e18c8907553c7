"""The claims of a token: their types, and the rules that are the same for every key.

No signatures, keys or times. The native core checks the characters of an incoming token
(`_native/token`); `is_text` is the same rule for minting and for the configuration.
"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate import limits

Seconds = Annotated[int, Meta(ge=0, le=limits.time_seconds_max)]
MicroCredits = Annotated[int, Meta(ge=0, le=limits.quota_micro_max)]
ClaimText = Annotated[str, Meta(min_length=1, max_length=limits.claim_chars_max)]

# 32 bytes in base64url. Two bits of the last character have no meaning, and are 0 (RFC 4648,
# section 3.5).
_DIGEST = re.compile(r"\A[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z", re.ASCII)
Digest = Annotated[str, Meta(pattern=_DIGEST.pattern)]
_TEXT = re.compile(rf"[A-Za-z0-9._:/@-]{{1,{limits.claim_chars_max}}}", re.ASCII)


def is_text(value: str) -> bool:
    """Return whether `value` may be a text in a token; such a text needs no escaping anywhere."""
    return _TEXT.fullmatch(value) is not None


def is_digest(text: str) -> bool:
    """Return whether a text is the base64url of 32 bytes, without padding and canonical."""
    return _DIGEST.fullmatch(text) is not None


class PathElement(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One ancestor of a branch, as the token of the branch states it in `branch_path`.

    `credit_quota` (micro-credits) was the ancestor's quota at `iat` (seconds since the epoch). A
    gateway uses the newest quota that any token states for a branch. A quota with an `iat` far in
    the future would stay the newest for ever. So a gateway refuses an `iat` later than the token's
    own, apart from a few seconds between clocks. Without an `iat`, a gateway uses the quota only
    while the ledger does not know the ancestor.
    """

    id: str
    credit_quota: MicroCredits
    iat: Seconds | None = None


class Confirmation(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True
):
    """The keys that the presenter of a token must have (RFC 7800); a token with others is refused.

    `jkt` is the thumbprint of a key that DPoP proofs show (RFC 9449, section 6.1). `x5t` is the
    digest of a client certificate (RFC 8705, section 3.1). Each is SHA-256 in base64url, 43
    characters.
    """

    jkt: Digest | None = None
    x5t: Digest | None = msgspec.field(default=None, name="x5t#S256")


class Actor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Who acts on behalf of the subject of a token (RFC 8693, section 4.1).

    The outermost actor is the agent that holds the token, by its role. Each `act` within is the
    agent that spawned it, and the innermost is the orchestrator of the run, by its `client_id`. So
    the actors, innermost first, are those of the branches in `branch_path`, and of the branch.
    """

    sub: ClaimText
    act: "Actor | None" = None

    @property
    def names(self) -> list[str]:
        """All actors: the orchestrator first, and the agent that holds the token last."""
        within = [] if self.act is None else self.act.names
        return [*within, self.sub]


class Claims(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The payload of a token. Types are strict; a gateway ignores unknown members.

    `credit_quota` is in micro-credits; `iat`, `exp` and `nbf` are in seconds since the epoch.
    `process_proven` is True if the kernel has proved `process_id`, and None if somebody stated it.
    """

    iss: ClaimText
    aud: ClaimText | Annotated[list[ClaimText], Meta(min_length=1, max_length=limits.audiences_max)]
    sub: ClaimText
    client_id: ClaimText
    iat: Seconds
    exp: Seconds
    jti: ClaimText
    crew: ClaimText
    process_id: ClaimText
    agent_role: ClaimText
    execution_branch_id: str
    allowed_tools: Annotated[
        list[ClaimText], Meta(min_length=1, max_length=limits.allowed_tools_max)
    ]
    credit_quota: MicroCredits
    branch_path: Annotated[list[PathElement], Meta(max_length=limits.depth_max)]
    nbf: Seconds | None = None
    cnf: Confirmation | None = None
    act: Actor | None = None
    process_proven: bool | None = None


class ProvenProcess(msgspec.Struct, frozen=True):
    """A process that the kernel has named: its `name` is the claim `process_id`."""

    name: str


def process_text(process_id: str, *, is_proven: bool) -> str:
    """Return a process for a person to read, with the party that named it."""
    return f"{process_id} ({'proven' if is_proven else 'stated'})"


class _PathTimes(msgspec.Struct, frozen=True, gc=False):
    iat: Seconds | msgspec.UnsetType = msgspec.UNSET


class _Keys(msgspec.Struct, frozen=True, gc=False):
    jkt: str | msgspec.UnsetType = msgspec.UNSET
    x5t: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="x5t#S256")


class _Actor(msgspec.Struct, frozen=True, gc=False):
    act: "_Actor | msgspec.UnsetType" = msgspec.UNSET


class _Optional(msgspec.Struct, frozen=True, gc=False):
    branch_path: list[_PathTimes]
    nbf: Seconds | msgspec.UnsetType = msgspec.UNSET
    cnf: _Keys | msgspec.UnsetType = msgspec.UNSET
    act: _Actor | msgspec.UnsetType = msgspec.UNSET
    process_proven: bool | msgspec.UnsetType = msgspec.UNSET


decode_claims = msgspec.json.Decoder(Claims).decode

# An optional claim has its type or is absent. `Claims` has None for an absent one, so this second
# decoder refuses an explicit `null`. It runs only for a payload that has a `null` somewhere.
refuse_null = msgspec.json.Decoder(_Optional).decode
