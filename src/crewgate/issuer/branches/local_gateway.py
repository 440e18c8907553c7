"""Connects an issuer to one machine: to its configuration file and its agent's admin socket.

No other part of the issuer knows these two. An issuer can mint while no gateway runs, but then it
does not know what was spent or revoked meanwhile; a log line says so.
"""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import msgspec

from crewgate.config import Config, load
from crewgate.core.ids import EntityKind, branch_key
from crewgate.core.revocation_kinds import RevocationTarget, keys_of, subject_keys
from crewgate.core.tokens.claims import Claims
from crewgate.errors import ConfigurationError, ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.readonly_table import open_table
from crewgate.issuer.mint import Minter
from crewgate.issuer.signing import SigningKey
from crewgate.policy.loader import crew_keys, crew_policy

_log = logging.getLogger(__name__)


def minter_of(path: Path | str, crew: str, name: str | None = None) -> tuple[Config, Minter]:
    """Read the configuration `path`, and make the minter of orchestrator `<crew>/<name>`.

    Raises:
        ConfigurationError: The file, the crew, its keys or its signing key cannot be used.
        IssuerError: The key may sign only for another orchestrator.
    """
    config = load(Path(path))
    return config, minter_by(config, crew, name)


def minter_by(config: Config, crew: str, name: str | None = None) -> Minter:
    """Make the minter of orchestrator `<crew>/<name>`; raises as `minter_of`."""
    section = config.crew(crew)
    if section.signing_key is None:
        raise ConfigurationError(
            f"{config.path}: crew {crew} has no signing_key; add the path of its private key (PEM)"
        )
    key = SigningKey.load(section.signing_key, crew_keys(section), str(section.jwks))
    providers = [provider.name for provider in config.identity_providers]
    policy = crew_policy(section)
    return Minter(policy, config.audience, key, name, identity_providers=providers)


def process_name() -> str:
    """Return the `process_id` of this process."""
    return f"pid_{os.getpid()}"


class BranchUsage(msgspec.Struct, frozen=True):
    """What a gateway knows about a branch.

    Attributes:
        spent_micro: Micro-credits that the branch and all branches below it have spent.
        is_revoked: Whether the gateway has revoked or closed the branch or a branch above it.
    """

    spent_micro: int
    is_revoked: bool = False


class RevocationReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a revocation when the gateway answered.

    Attributes:
        machines_applied: How many machines enforce the revocation and have it on their disks. The
            other machines get the revocation without a further call.
        machines_total: How many machines the cluster has.
        machines_missing: The names of the machines that have not acknowledged the revocation yet,
            if known, and 256 at most.
        machines_missing_more: How many further machines have not acknowledged the revocation yet.
        is_complete: Whether the required number of machines have the revocation on their disks: a
            majority, or the only machine.
        elapsed_ms: Milliseconds from the arrival of the request at the gateway until both had
            happened: all machines of `machines_applied` had acknowledged the revocation, and the
            gateway had ended the last open call.
        calls_cut: How many open calls the gateway on this machine ended. Calls that a verifier or
            `CrewgateMiddleware` ends do not count.
        is_whole_crew: Whether the gateway revoked all earlier tokens of the crew instead, because
            the crew has used up its share of revocations.
        is_known: False if no machine knows the branch, for example because the id is mistyped. The
            revocation is in force all the same.
    """

    machines_applied: int
    machines_total: int
    machines_missing: tuple[str, ...]
    machines_missing_more: int = 0
    is_complete: bool
    elapsed_ms: float
    calls_cut: int
    is_whole_crew: bool
    is_known: bool


class GatewayClient(Protocol):
    """The methods that an `Orchestrator` needs of a gateway: a protocol.

    Implement it only if you call `Orchestrator(…)` yourself. `Orchestrator.from_config` and
    `remote_orchestrator` bring a gateway of their own.
    """

    def usage(self, branches: Collection[str]) -> Mapping[str, BranchUsage]:
        """Return what the gateway knows about these branches, by their ids (UUID text).

        Leave out a branch that no call has used yet, unless the branch was revoked.

        Raises:
            ServiceConnectionError: The gateway cannot be reached. The orchestrator then mints
                nothing. To let the orchestrator mint, return an empty dict and raise nothing: so
                does the gateway of `Orchestrator.from_config`.
        """

    def is_subject_revoked(self, subject: str) -> bool:
        """Return whether the gateway has revoked all runs of this subject of the crew.

        Raises:
            ServiceConnectionError: As for `usage`. To let the orchestrator mint, return False.
        """

    def revoke(self, branch: str, reason: str = "") -> RevocationReceipt:
        """Revoke a branch (UUID text) and all below it, on every machine.

        `reason` is a text for the audit of the gateway.

        Raises:
            ServiceConnectionError: The gateway cannot be reached; it has revoked nothing.
            ServiceRefusedError: The gateway refuses; the message has the reason.
        """

    def revoke_subject(self, subject: str, reason: str = "") -> RevocationReceipt:
        """Revoke all runs of a subject of the crew on every machine, and refuse later ones.

        Raises:
            ServiceConnectionError, ServiceRefusedError: As for `revoke`.
        """


class LocalGateway:
    """The gateway of this machine, reached through the agent's admin socket."""

    def __init__(self, state: Path, crew: str) -> None:
        self._state = state
        self._crew = crew

    def usage(self, branches: Collection[str]) -> Mapping[str, BranchUsage]:
        """See `GatewayClient`. The reservations of open calls count as spent."""
        try:
            with AdminClient(self._state) as agent:
                rows = agent.tree()
        except ServiceConnectionError as error:
            _log.warning("minting without asking the agent what was spent or revoked: %s", error)
            return {}
        seen = {
            row.branch: BranchUsage(
                row.spent + row.reserved + row.burned, row.state in {"revoked", "closed"}
            )
            for row in rows
            if row.crew == self._crew and row.branch in branches
        }
        revoked = BranchUsage(0, is_revoked=True)
        return seen | dict.fromkeys(self._revoked(set(branches) - seen.keys()), revoked)

    def is_subject_revoked(self, subject: str) -> bool:
        """See `GatewayClient`; False if no agent runs, which `usage` logs."""
        return self._any_revoked(subject_keys(self._crew, subject), 0)

    def refuses(self, claims: Claims, kid: str) -> bool:
        """Whether the table has a revocation of a token with these claims, signed by key `kid`.

        Returns False if no agent runs; `usage` logs that.
        """
        return self._any_revoked(keys_of(claims, kid), claims.iat)

    def _any_revoked(self, keys: Sequence[bytes], issued_at: int) -> bool:
        try:
            with closing(open_table(self._state)) as table:
                return any(table.is_revoked(key, issued_at) for key in keys)
        except ServiceConnectionError:
            return False

    def _revoked(self, branches: Collection[str]) -> list[str]:
        """Return the revoked ones of `branches`: the tree has only branches that were used here."""
        if not branches:
            return []
        try:
            with closing(open_table(self._state)) as table:
                return [each for each in branches if table.is_revoked(branch_key(self._crew, each))]
        except ServiceConnectionError as error:
            _log.warning("cannot find out which unused branches are revoked: %s", error)
            return []

    def revoke(self, branch: str, reason: str = "") -> RevocationReceipt:
        """See `GatewayClient`."""
        return self._revoke(RevocationTarget(EntityKind.BRANCH, branch, self._crew), reason)

    def revoke_subject(self, subject: str, reason: str = "") -> RevocationReceipt:
        """See `GatewayClient`."""
        return self._revoke(RevocationTarget(EntityKind.SUBJECT, subject, self._crew), reason)

    def _revoke(self, target: RevocationTarget, reason: str) -> RevocationReceipt:
        with AdminClient(self._state) as agent:
            receipt = agent.revoke([target], reason=reason)
        return RevocationReceipt(
            machines_applied=receipt.reach.applied_on,
            machines_total=receipt.reach.of,
            machines_missing=tuple(receipt.reach.missing),
            machines_missing_more=receipt.reach.missing_more,
            is_complete=receipt.reach.enough,
            elapsed_ms=max(receipt.reach.ms, receipt.cut_ms),
            calls_cut=receipt.calls_cut,
            is_whole_crew=receipt.coarsened,
            is_known=not receipt.never_seen,
        )
