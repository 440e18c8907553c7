"""What ties an issuer to one machine: its configuration file, and its agent's admin socket.

The only part of the issuer that knows either. Minting needs no running gateway: without one, nobody
knows what was spent or revoked since, and the log says so.
"""

import logging
import os
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from crewgate.config import Config, load
from crewgate.core.ids import EntityKind, branch_key
from crewgate.core.revocation_kinds import RevocationTarget, keys_of
from crewgate.core.tokens.claims import Claims
from crewgate.errors import ConfigurationError, LinkError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.readonly_table import open_table
from crewgate.issuer.mint import Minter
from crewgate.issuer.signing import SigningKey
from crewgate.policy.loader import ceilings, crew_keys

_log = logging.getLogger(__name__)


def minter_of(path: Path | str, crew: str, name: str | None = None) -> tuple[Config, Minter]:
    """The configuration in `path` and what mints for `crew` (as `<crew>/<name>`) by it.

    Raises:
        ConfigurationError: The file, the crew, its keys or its signing key cannot be used.
        IssuerError: The key speaks for another orchestrator alone.
    """
    config = load(Path(path))
    return config, minter_by(config, crew, name)


def minter_by(config: Config, crew: str, name: str | None = None) -> Minter:
    """What mints for `crew` by a configuration that was read; raises as `minter_of`."""
    section = config.crew(crew)
    if section.signing_key is None:
        raise ConfigurationError(
            f"{config.path}: crew {crew} has no signing_key: name the PEM file of its private key"
        )
    key = SigningKey.load(section.signing_key, crew_keys(section), str(section.jwks))
    return Minter(ceilings(section), config.audience, key, name)


def process_name() -> str:
    """The `process_id` of what runs in this process."""
    return f"pid_{os.getpid()}"


class BranchUsage(NamedTuple):
    """What a gateway knows of a branch.

    Attributes:
        spent_micro: Micro-credits that the branch and all branches below it have spent.
        is_revoked: Whether the branch, or a branch above it, was revoked or closed there.
    """

    spent_micro: int
    is_revoked: bool = False


class RevocationReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """How far the revocation of a branch had come when the gateway answered.

    Attributes:
        machines_applied: Machines that have it in force and on their disks. It reaches the others
            without a further call.
        machines_total: Machines in the trust domain.
        machines_missing: The names of those that have not acknowledged it yet, if they are known.
        is_complete: Whether it is on as many disks as were asked for: of a majority of the
            machines, or of the one that there is.
        elapsed_ms: Milliseconds from the gateway's reading of the request to the last of these
            machines, and to the end of the last open call at the gateway.
        calls_cut: Open calls that the gateway's machine ended.
        is_whole_crew: Whether all tokens of the crew that were issued before are revoked instead,
            because the crew has used up its share of revocations.
        is_known: False if no machine knows the branch: is its id mistyped? It is revoked all the
            same.
    """

    machines_applied: int
    machines_total: int
    machines_missing: tuple[str, ...]
    is_complete: bool
    elapsed_ms: float
    calls_cut: int
    is_whole_crew: bool
    is_known: bool


class GatewayClient(Protocol):
    """What an orchestrator asks of the gateways that its tokens are for."""

    def usage(self, branches: Collection[str]) -> Mapping[str, BranchUsage]:
        """What is known of these branches (UUID text).

        The answer leaves out a branch that no call has used yet, unless it was revoked.

        Raises:
            LinkError: The gateway cannot be reached, and nothing may be minted without it.
        """

    def revoke(self, branch: str) -> RevocationReceipt:
        """Revoke a branch (UUID text) and all below it, on every machine.

        Raises:
            LinkError: The gateway cannot be reached; nothing is revoked there.
            RefusedError: The gateway does not revoke it, and says why.
        """


class LocalGateway:
    """The gateway of this machine, asked through the agent's admin socket."""

    def __init__(self, state: Path, crew: str) -> None:
        self._state = state
        self._crew = crew

    def usage(self, branches: Collection[str]) -> Mapping[str, BranchUsage]:
        """See `GatewayClient`. What calls in flight have reserved counts as spent."""
        try:
            with AdminClient(self._state) as owner:
                rows = owner.tree()
        except LinkError as error:
            _log.warning(
                "what was spent or revoked is not known, only grants are compared: %s", error
            )
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

    def refuses(self, claims: Claims, kid: str) -> bool:
        """Whether the table has revoked anything that a token of key `kid` names.

        False without an agent: `usage` logs that nothing is known.
        """
        try:
            with closing(open_table(self._state)) as table:
                return any(table.is_revoked(key, claims.iat) for key in keys_of(claims, kid))
        except LinkError:
            return False

    def _revoked(self, branches: Collection[str]) -> list[str]:
        """The branches that the table has revoked: the tree shows only what was used here."""
        if not branches:
            return []
        try:
            with closing(open_table(self._state)) as table:
                return [each for each in branches if table.is_revoked(branch_key(self._crew, each))]
        except LinkError as error:
            _log.warning("what was revoked unused is not known: %s", error)
            return []

    def revoke(self, branch: str) -> RevocationReceipt:
        """See `GatewayClient`."""
        with AdminClient(self._state) as owner:
            done = owner.revoke([RevocationTarget(EntityKind.BRANCH, branch, self._crew)])
        return RevocationReceipt(
            machines_applied=done.reach.applied_on,
            machines_total=done.reach.of,
            machines_missing=tuple(done.reach.missing),
            is_complete=done.reach.enough,
            elapsed_ms=max(done.reach.ms, done.cut_ms),
            calls_cut=done.calls_cut,
            is_whole_crew=done.coarsened,
            is_known=not done.never_seen,
        )
