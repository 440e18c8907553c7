"""What an orchestrator needs of the part that signs: a request for a branch, and a protocol.

`local_issuer` signs with a key of this machine. `remote_issuer` has a gateway sign.
"""

from typing import Protocol

import msgspec

from crewgate.core.tokens.claims import Confirmation, ProvenProcess
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.issuer.branches.local_gateway import RevocationReceipt
from crewgate.issuer.journal.journal_entries import ORCHESTRATOR, GrantWay
from crewgate.issuer.mint import MintedToken


class BranchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a new branch is to have.

    Attributes:
        role: A word for what the agent does.
        tools: Names and patterns of tools.
        quota: Micro-credits of the branch and of all branches below it.
        process_id: The process that will hold the token; None is this process.
        binding: The key that the presenter of a token must have.
        subject: On whose behalf a run acts; None is the orchestrator itself.
        subject_token: A token of an identity provider that proves the subject instead.
        overcommit: Whether the children of the parent may together hold more than the parent has.
        reason: A text for the journal.
        way: How the request came.
        seconds: When the branch ends, in seconds from now, unless it gets an extension; None is no
            such time.
        decided_by: ORCHESTRATOR, or the user of a command.
    """

    role: str
    tools: list[str]
    quota: int
    process_id: str | ProvenProcess | None
    binding: Confirmation | None
    subject: str | ProvenSubject | None = None
    subject_token: str | None = None
    overcommit: bool = False
    reason: str = ""
    way: GrantWay = GrantWay.LIBRARY
    seconds: int | None = None
    decided_by: str = ORCHESTRATOR


class GrantChange(msgspec.Struct, frozen=True, kw_only=True):
    """What the next grant of a branch is to change, who wants that, and who has decided it.

    Attributes:
        quota: Micro-credits of the branch in all, also those that it has already spent; None keeps
            the present number.
        tools: Names and patterns of tools; None keeps the present ones.
        more_quota, more_tools: Micro-credits and tools to add.
        seconds: Seconds by which the branch is to end later; None keeps its end.
        binding: The key that the presenter of a token must have; None keeps the present one.
        overcommit, reason, way: As for `BranchRequest`.
        decided_by: ORCHESTRATOR, CALLBACK, POLICY, or the user of a command.
        answer: What the one who decided says about it.
    """

    quota: int | None = None
    tools: list[str] | None = None
    more_quota: int = 0
    more_tools: tuple[str, ...] = ()
    seconds: int | None = None
    binding: Confirmation | None = None
    overcommit: bool = False
    reason: str = ""
    way: GrantWay = GrantWay.LIBRARY
    decided_by: str = ORCHESTRATOR
    answer: str = ""


class BranchIssuer(Protocol):
    """Grants branches their tokens, and keeps them in an `IssuedBranchStore`.

    Ids of branches are UUID texts. A method raises the errors of the method of `Orchestrator` that
    calls it.
    """

    def start_run(self, request: BranchRequest) -> MintedToken:
        """Grant a new branch without a parent."""

    def spawn(self, parent: str, request: BranchRequest) -> MintedToken:
        """Grant a new branch below `parent`."""

    def extend(self, branch: str, change: GrantChange) -> str:
        """Grant the next token of a branch, and return the token."""

    def renew(self, branch: str, way: GrantWay = GrantWay.RENEWAL) -> str:
        """Return the next token of a branch, or the last one if that fails and has not expired."""

    def refuse(self, branch: str, change: GrantChange) -> None:
        """Record that a request was refused, as `change` says."""

    def revoke(self, branch: str, reason: str = "") -> RevocationReceipt | None:
        """Have a gateway revoke a branch that this machine has already marked as revoked.

        `reason` is a text for the audit of the gateway.
        """

    def revoke_subject(self, subject: str, reason: str = "") -> RevocationReceipt | None:
        """Have a gateway revoke all runs of a subject of the crew."""

    def close(self) -> None:
        """Close what the issuer has opened."""
