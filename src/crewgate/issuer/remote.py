"""An orchestrator on another host, for which a gateway's control API signs, over mutual TLS.

The gateway has the signing key and the journal, and writes a line for each grant before it returns
the token. The orchestrator has the newest tokens and the revoked branches in memory. If the file of
the certificate changes, the orchestrator reads it again: so you can renew the certificate in place.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from crewgate.errors import ConfigurationError
from crewgate.issuer.branches.branch_tree import BranchTree
from crewgate.issuer.branches.issued_branch_store import IssuedBranchStore
from crewgate.issuer.branches.remote_issuer import RemoteIssuer
from crewgate.issuer.control_api.remote_issuer_client import (
    RemoteIssuerClient,
    SidecarIssuerClient,
    pem_pair,
)
from crewgate.issuer.extensions.extension_decider import Decide
from crewgate.issuer.extensions.extension_limits import ExtensionLimits
from crewgate.issuer.orchestrator import Orchestrator

__all__ = ["remote_orchestrator", "sidecar_orchestrator"]


class RemoteOrchestrator(Orchestrator):
    """An orchestrator whose tokens a gateway signs; `remote_orchestrator` makes it."""

    def __init__(
        self,
        api: RemoteIssuerClient,
        *,
        clock: Callable[[], float] = time.time,
        decide: Decide | None = None,
    ) -> None:
        unknown = ExtensionLimits(None)
        state = IssuedBranchStore(None, "this host", clock, unknown, BranchTree())
        self._set_up(state, RemoteIssuer(api, state), decide)

    def __repr__(self) -> str:
        return f"<RemoteOrchestrator of {self._issuer!r} with {len(self._state.branches)} branches>"


def remote_orchestrator(
    url: str, certificate: Path | str, *, ca: Path | str, decide: Decide | None = None
) -> Orchestrator:
    """Make the orchestrator that a certificate names, on any host; a gateway signs for it.

    The methods of this orchestrator raise the errors of `Orchestrator`, and ServiceConnectionError
    if the control API cannot be reached or cannot sign now. The orchestrator learns that a branch
    was revoked elsewhere when it next renews or changes the token of that branch, or spawns a child
    of that branch. The control API does not support `overcommit` and a lifetime.

    Args:
        url: The URL of the gateway's control API, `https://HOST:PORT`.
        certificate: PREFIX or PREFIX.pem, with the key in PREFIX.key, as `crewgate ca issue
            --out PREFIX` writes them. The orchestrator reads the files again when they change.
        ca: The PEM file of the root that signed the API's certificate.
        decide: Decides about requests for an extension, as for `Orchestrator`. With None, the
            limits of the crew at the gateway decide.

    Raises:
        ConfigurationError: A file or the URL cannot be used.
    """
    client = RemoteIssuerClient(url, *pem_pair(certificate), Path(ca))
    return RemoteOrchestrator(client, decide=decide)


def sidecar_orchestrator(*, decide: Decide | None = None) -> Orchestrator:
    """Make the orchestrator of a program that `crewgate run --gateway HOST:PORT` has started.

    HOST:PORT must be the address of the control API. A gateway signs, as for `remote_orchestrator`.
    The program needs no key and no certificate: `crewgate run` shows its own. `decide` is as for
    `remote_orchestrator`.

    Raises:
        ConfigurationError: `crewgate run` has not started this program.
    """
    socket, url = (os.environ.get(f"CREWGATE_{name}", "") for name in ("SOCKET", "GATEWAY"))
    if not socket or not url:
        raise ConfigurationError(
            "CREWGATE_SOCKET and CREWGATE_GATEWAY are not set; start this program with `crewgate "
            "run --gateway HOST:PORT`, with the address of the control API"
        )
    return RemoteOrchestrator(SidecarIssuerClient(url, Path(socket)), decide=decide)
