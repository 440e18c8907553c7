"""The request and response bodies of the control API; amounts are in micro-credits.

Their docstrings are the descriptions in the OpenAPI document. A request with an unknown member is
refused, since a misspelled one would otherwise have no effect.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.core.tokens.claims import Actor, Confirmation
from crewgate.ipc.admin_messages import NeverSeen, Until
from crewgate.ipc.cluster_view import ClusterRevocationRow, SilentMachine

BoundedText = Annotated[str, Meta(max_length=limits.claim_chars_max)]
PEM = Annotated[str, Meta(max_length=limits.request_pem_bytes_max)]
CrewName = Annotated[str, Meta(max_length=limits.name_chars_max)]
HolderRole = Literal["orchestrator", "gateway", "operator", "agent"]
ReasonText = Annotated[str, Meta(max_length=limits.reason_chars_max)]
UNSPECIFIED = "unspecified"
# The reasons of `crewgate.ca.crl` (RFC 5280, section 5.3.1).
RevocationReason = Literal[
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]


class RevocationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to revoke: name exactly one target; `crew`, `reason` and `until` are options.

    `reason` of a certificate or an orchestrator is a reason of RFC 5280. For other targets it is a
    text for the audit and the list of revocations.

    Targets: `branch` (UUID), with all branches below it; `grant` (`jti`); `process` (its id), for
    all its tokens issued until now; `all_tokens_of` (a crew), for all its tokens issued until now;
    `subject` (the `sub` of tokens), for all its tokens, also later ones; `certificate` (serial);
    `orchestrator` (`<crew>/<name>`), for all its certificates, and all its tokens issued until now.
    `crew` is the crew of the branch, grant or process, if that is ambiguous, and of the subject: if
    an operator names no crew, the subject is revoked in all crews. `until` is how many machines
    must have the revocation on disk before the response: this one ("local"), a majority ("quorum",
    the default in a cluster) or "all". For certificates and orchestrators it is always a majority.
    """

    branch: BoundedText = ""
    grant: BoundedText = ""
    process: BoundedText = ""
    all_tokens_of: BoundedText = ""
    subject: BoundedText = ""
    crew: BoundedText = ""
    certificate: BoundedText = ""
    orchestrator: BoundedText = ""
    reason: ReasonText = UNSPECIFIED
    until: Until = ""


class RevocationResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a revocation, on this machine and on the others.

    `applied_on` says how many of the `of` machines enforce the revocation and have it on disk,
    after `ms` milliseconds. `missing` names machines that have not confirmed the revocation, 256 at
    most, and `missing_more` counts the others. `enough` says whether `until` was reached. If
    `applied_on` is 0, the agent of this machine does not run: the revocation is recorded, and the
    agent applies it at its next start.

    This machine ended the last call, or closed the last connection, after `cut_ms` milliseconds.
    `unresponsive` of the `processes` did not confirm in time. They refuse the target all the same,
    because they read the table.

    `certificates` are the serials of certificates that were revoked too. `unlisted` certificates
    have no room in the table: CRL and OCSP refuse them and their connections are closed, but
    embedded verifiers do not know of them. `unwritten` says why the CA's register, CRL or intent is
    not on disk yet. The revocation is in force, and the control process writes it when the disk
    allows that. If the control process ends before, repeat the request.

    If `coarsened` is true, the crew had used up its share of revocations, so all tokens of the crew
    that were issued until now are revoked. If no machine knows the target, `never_seen` is
    `everywhere`. If none of the machines that answered knows the target, `never_seen` is `here`,
    and `never_seen_on` counts them. The target is revoked all the same. `runs_ended` live runs of a
    subject have ended, of those that the machines have seen. `runs_unasked` machines did not say in
    time which they have seen.
    """

    target: Literal["branch", "grant", "process", "crew", "subject", "certificate", "orchestrator"]
    id: str
    crew: str
    applied_on: int = 1
    of: int = 1
    ms: float = 0.0
    missing: list[str] = []
    missing_more: int = 0
    enough: bool = True
    cut_ms: float = 0.0
    calls_cut: int = 0
    connections_closed: int = 0
    processes: int = 0
    unresponsive: int = 0
    unlisted: int = 0
    certificates: list[str] = []
    unwritten: str = ""
    coarsened: bool = False
    never_seen: NeverSeen = ""
    never_seen_on: int = 0
    runs_ended: int = 0
    runs_unasked: int = 0

    @property
    def audit_text(self) -> str:
        """What the request did, for the audit log."""
        if self.target == "crew":
            return f"revoked all tokens of crew {self.id} issued until now"
        no_crew = "all crews" if self.target == "subject" else "crew (none)"
        crew = f"crew {self.crew}" if self.crew else no_crew
        return f"revoked {self.target} {self.id} of {crew}"


class BranchShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine says about a branch or a crew. Amounts are micro-credits.

    `spent_micro` and `reserved_micro` are those of its own calls, and `leased_micro` is the credit
    that it holds and that no call has reserved. `calls` were answered in this minute of its clock
    (`minutes`); -1 if no rule counts them.
    """

    machine: str
    state: str
    spent_micro: int = 0
    reserved_micro: int = 0
    leased_micro: int = 0
    calls: int = -1


class BranchResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One branch of the tree, or a crew (`branch` is empty). Amounts are micro-credits.

    The amounts are those of all machines; `machines` has what each of them says. `quotas` is how
    many times the quota can be spent: once for each ledger.

    `left_micro` of a branch is what its own quota and the quotas of the branches above still allow.
    `left_micro` of a crew is what its hour and its day still allow, or -1 without a limit.
    `leased_micro` is credit that machines have drawn and not spent yet. `leased_on` has the
    machines that hold most of this credit, by name.

    `calls` of the branch and all below it were answered in this minute of the clocks of machines;
    -1 if no rule counts them. `rule` has taken the step `rule_step` since the branch last made
    progress, or would have if its `rule_mode` were not `observe`.
    """

    crew: str
    branch: str
    state: str
    parent: str = ""
    orchestrator: str = ""
    role: str = ""
    process: str = ""
    grant: str = ""
    subject: str = ""
    quota_micro: int = 0
    spent_micro: int = 0
    reserved_micro: int = 0
    burned_micro: int = 0
    left_micro: int = -1
    leased_micro: int = 0
    leased_on: dict[str, int] = {}
    quotas: int = 1
    calls: int = -1
    rule: str = ""
    rule_step: RuleStep | None = None
    rule_mode: RuleMode | None = None
    machines: list[BranchShare] = []


class CallTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What calls of a crew to a tool have come to on a machine since its gateway started.

    `calls` have ended, `refused` of them because the gateway refused.
    """

    machine: str
    crew: str
    tool: str
    calls: int = 0
    refused: int = 0
    spent_micro: int = 0


class BranchesResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Branches, with parents before their children.

    If `more` is true, request the next page with `after` set to `next`. `machines` have answered,
    among them the machine of this API (`asked`), and those of `not_asked` have not. `left_out`
    branches did not fit into the answers of the other machines. `minutes` has the number of the
    minute that the `calls` of each machine are about. The whole tree has `totals` of calls, too.
    """

    branches: list[BranchResponse]
    more: bool = False
    next: str = ""
    machines: list[str] = []
    asked: str = ""
    not_asked: list[SilentMachine] = []
    left_out: int = 0
    minutes: dict[str, int] = {}
    totals: list[CallTotal] = []


class RevocationsResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The newest revocations in force, the oldest of them first.

    `total` is the largest number of matching revocations that one machine knows. `machines` have
    answered, among them the machine of this API (`asked`), and those of `not_asked` have not.
    """

    revocations: list[ClusterRevocationRow]
    total: int = 0
    machines: list[str] = []
    asked: str = ""
    not_asked: list[SilentMachine] = []


class TokenResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token and its branch (RFC 6749, section 5.1, and RFC 8693, section 2.2.1).

    `subject` is on whose behalf the run acts, unless it acts for the orchestrator itself.
    """

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    branch: str
    grant: str
    issued_token_type: str = ""
    subject: str = ""

    @property
    def audit_text(self) -> str:
        """What the request did, for the audit log; never the token."""
        behalf = f" on behalf of {self.subject}" if self.subject else ""
        return f"got grant {self.grant} for branch {self.branch}{behalf}"

    def __repr__(self) -> str:
        """Return a text without the token."""
        return f"<TokenResponse {self.branch} for {self.expires_in} s>"


class IntrospectionResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claims of a token (RFC 7662, section 2.2; RFC 8693, section 4.1; RFC 9449, section 6.2).

    `sponsor` is who answers for the crew, as the configuration of this machine says.

    If the token is not valid, the answer has only `active`, which is false.
    """

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
    cnf: Confirmation | None = None
    act: Actor | None = None
    sponsor: str = ""
    process_id: str = ""
    process_proven: bool | None = None


class CertificateSigningRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """A CSR (`request`, PEM). Without role, crew and name, the certificate is the caller's own.

    `renews` is a server's certificate (PEM) that this CA signed and that has not expired. The new
    certificate has the same names and the same key, so the CSR must be for that key.

    `branch_token` is the newest token of a branch, for role `agent`. The certificate names this
    branch, and ends with this token; the token also says crew and name.
    """

    request: PEM
    renews: PEM = ""
    role: HolderRole | None = None
    crew: CrewName = ""
    name: BoundedText = ""
    life_seconds: Annotated[int, Meta(ge=1, le=limits.certificate_life_seconds_max)] | None = None
    hosts: Annotated[list[BoundedText], Meta(max_length=limits.certificate_hosts_max)] = []
    branch_token: Annotated[str, Meta(max_length=limits.token_bytes_max)] = ""


class CertificateResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate with its chain to the root (PEM); times are seconds since the epoch.

    `holder` is `CREW/NAME`, `gateway/NAME` or `operator/NAME`; for a branch, it is
    `CREW/NAME#BRANCH`. Older gateways do not send it.
    """

    serial: str
    certificate: str
    not_before: int
    not_after: int
    holder: str = ""

    @property
    def audit_text(self) -> str:
        """What the request did, for the audit log."""
        return f"got certificate {self.serial}" + (f" for {self.holder}" if self.holder else "")


class ComponentProblem(msgspec.Struct, frozen=True, kw_only=True):
    """An unhealthy component: since when (seconds since the epoch), why, and how to mend it.

    `refuses`: the gateway refuses all calls until it is mended. `passing`: it is only starting.
    """

    component: str
    state: Literal["degraded", "failed"]
    since: float
    why: str
    mend: str
    refuses: bool
    passing: bool


class HealthResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process is alive, or the whole gateway is ready.

    `waiting_for` says what is not ready. `status` is "degraded" if the gateway is ready but a
    component is unhealthy. `troubles` are the unhealthy components of this machine, worst first, as
    `crewgate status` shows them.
    """

    status: Literal["ok", "degraded", "waiting"]
    waiting_for: list[str] = []
    troubles: list[ComponentProblem] = []


class MachineHealth(HealthResponse, frozen=True, kw_only=True):
    """Whether the gateway of one machine is ready."""

    machine: str


class MachinesResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The health of the machines that answered, and the machines that did not.

    `asked` is the machine of this API.
    """

    machines: list[MachineHealth]
    asked: str = ""
    not_asked: list[SilentMachine] = []


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = ""


class OAuthProblem(msgspec.Struct, frozen=True, kw_only=True):
    """An OAuth error (RFC 6749, section 5.2), and the `type` of the problem (RFC 9457)."""

    error: str
    error_description: str
    type: str
