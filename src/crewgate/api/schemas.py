"""What is said over the control API: requests and answers as structs, amounts in micro-credits.

Knows no transport. Unknown members are refused: a misspelt one would be a wish that nobody hears.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.ipc.admin_messages import NeverSeen, Until

BoundedText = Annotated[str, Meta(max_length=limits.claim_chars_max)]
PEM = Annotated[str, Meta(max_length=limits.request_pem_bytes_max)]
CrewName = Annotated[str, Meta(max_length=limits.name_chars_max)]
CallerRole = Literal["orchestrator", "gateway", "operator"]
# RFC 5280 §5.3.1, as the CA has them.
RevocationReason = Literal[
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]


class RevocationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to end: exactly one of these, but for `crew`, `reason` and `until`.

    A branch (UUID) and all below it; a grant (`jti`) for good; all tokens of a process (its id), or
    of a whole crew (its name), that were issued until now; a certificate (serial); an orchestrator,
    `<crew>/<name>`, all of whose tokens until now and all of whose certificates die. `crew` says
    whose branch, grant or process it is, where that is not plain. `until` says how many machines
    must have it on their disks before the answer: this one ("local"), a majority ("quorum", the
    default where there are others), or "all"; of certificates and orchestrators a majority.
    """

    branch: BoundedText = ""
    grant: BoundedText = ""
    process: BoundedText = ""
    all_tokens_of: BoundedText = ""
    crew: BoundedText = ""
    certificate: BoundedText = ""
    orchestrator: BoundedText = ""
    reason: RevocationReason = "unspecified"
    until: Until = ""


class RevocationResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and on how many machines.

    `applied_on` 0: it is revoked and written down, and the agent hears of it when it is back.
    Of the `processes` that were told, `unresponsive` did not answer in time; the table binds them
    all the same. `unlisted` certificates found no room in the table: CRL and OCSP refuse them, and
    what was open is closed, but an embedded verifier that is shown one does not know. `unwritten`
    says why the CA's register, list or intent is not on its disk yet: it is in force all the same,
    and is written when the disk takes it; ask again if the control process ends before that.
    """

    target: Literal["branch", "grant", "process", "crew", "certificate", "orchestrator"]
    id: str
    crew: str
    applied_on: int = 1
    of: int = 1
    ms: float = 0.0  # until the last of those machines had it, and calls here were cut
    missing: list[str] = []
    enough: bool = True  # as many as the request's `until` asked for
    cut_ms: float = 0.0  # until the last call of this machine was cut, or connection closed
    calls_cut: int = 0
    connections_closed: int = 0
    processes: int = 0
    unresponsive: int = 0
    unlisted: int = 0
    certificates: list[str] = []  # serials that were revoked with it
    unwritten: str = ""
    coarsened: bool = False
    never_seen: NeverSeen = ""  # nobody knows what was named; it is revoked all the same
    never_seen_on: int = 0  # machines that say so

    @property
    def audit_text(self) -> str:
        """What was done, for the audit."""
        if self.target == "crew":
            return f"revoked every token of crew {self.id} until now"
        return f"revoked {self.target} {self.id} of crew {self.crew or '(none)'}"


class BranchResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One branch of the auth graph, or a crew (`branch` empty); `left` -1: not known."""

    crew: str
    branch: str
    state: str
    parent: str = ""
    orchestrator: str = ""
    role: str = ""
    process: str = ""
    grant: str = ""
    quota_micro: int = 0
    spent_micro: int = 0
    reserved_micro: int = 0
    burned_micro: int = 0
    left_micro: int = -1
    leased_micro: int = 0  # drawn by machines and not spent yet; by name, those that hold most:
    leased_on: dict[str, int] = {}


class BranchesResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with parents before their children.

    `more` if there are some after these: ask again `after` the `next` one.
    """

    branches: list[BranchResponse]
    more: bool = False
    next: str = ""


class TokenResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 6749 §5.1 and RFC 8693 §2.2.1, with the branch that the token is for."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    branch: str
    grant: str
    issued_token_type: str = ""

    @property
    def audit_text(self) -> str:
        """What was done, for the audit; never the token."""
        return f"got grant {self.grant} for branch {self.branch}"

    def __repr__(self) -> str:
        """Without the token."""
        return f"<TokenResponse {self.branch} for {self.expires_in} s>"


class IntrospectionResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 7662 §2.2; of a token that is no good nothing is said but that."""

    active: bool
    scope: str = ""
    client_id: str = ""
    token_type: str = ""
    exp: int = 0
    iat: int = 0
    sub: str = ""
    aud: str = ""
    iss: str = ""
    jti: str = ""
    crew: str = ""
    branch: str = ""
    credits_micro: int = 0


class CertificateSigningRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """A certificate for the key of a CSR (PEM). Without a name: for whom the caller speaks.

    `renews` is a server's certificate (PEM) that this CA signed and that has not ended: the next
    one has the same key, which the CSR must be of, and the same names.
    """

    request: PEM
    renews: PEM = ""
    role: CallerRole | None = None
    crew: CrewName = ""
    name: BoundedText = ""
    life_seconds: Annotated[int, Meta(ge=1, le=limits.certificate_life_seconds_max)] | None = None
    hosts: Annotated[list[BoundedText], Meta(max_length=limits.certificate_hosts_max)] = []


class CertificateResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf and what leads to the root, as PEM; times are seconds since the epoch."""

    serial: str
    certificate: str
    not_before: int
    not_after: int

    @property
    def audit_text(self) -> str:
        """What was done, for the audit."""
        return f"got certificate {self.serial}"


class ComponentProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A component that is not well: since when (seconds since 1970), why, and how to mend it.

    `refuses`: while it has failed the gateway answers no calls. `passing`: it is starting.
    """

    component: str
    state: Literal["degraded", "failed"]
    since: float
    why: str
    mend: str
    refuses: bool
    passing: bool


class HealthResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process is there, or the whole gateway ready; `waiting_for` says what is not.

    `status` is degraded while the gateway is ready and a component is not well. `troubles` are
    those components, the worst first, of this machine's `crewgate status`.
    """

    status: Literal["ok", "degraded", "waiting"]
    waiting_for: list[str] = []
    troubles: list[ComponentProblem] = []


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = ""


class OAuthProblem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 6749 §5.2."""

    error: str
    error_description: str
