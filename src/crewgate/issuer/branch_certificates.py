"""Gets certificates for branches from a gateway's control API, for the keys of sub-agents.

A sub-agent makes a key and a certificate request (CSR), and keeps the key. The certificate names
the branch and ends with the token that the branch had; its tokens are bound to the certificate.
"""

from pathlib import Path
from typing import Self

from crewgate.core.tokens.claims import Confirmation
from crewgate.issuer.bindings import binding_of_certificate, binding_of_pem
from crewgate.issuer.control_api.remote_issuer_client import RemoteIssuerClient, pem_pair
from crewgate.issuer.subagent import SubAgent

__all__ = ["BranchCertificates"]


class BranchCertificates:
    """Gets certificates for the branches of one orchestrator; use it as a context manager.

    It works with each kind of `Orchestrator`. Threads may share it. A method can block for 10 s.

    Args:
        url: The URL of the gateway's control API, `https://HOST:PORT`.
        certificate: PREFIX or PREFIX.pem of the orchestrator's certificate, with the key in
            PREFIX.key. The files are read again when they change.
        ca: The PEM file of the root that signed the API's certificate.

    Raises:
        ConfigurationError: A file or the URL cannot be used.
    """

    def __init__(self, url: str, certificate: Path | str, *, ca: Path | str) -> None:
        self._own, key = pem_pair(certificate)
        self._client = RemoteIssuerClient(url, self._own, key, Path(ca))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. Certificates stay valid until they end."""
        self._client.close()

    @property
    def own_binding(self) -> Confirmation:
        """The binding to the orchestrator's own certificate, for the first token of a branch.

        With this binding, nobody else can use that token.

        Raises:
            ConfigurationError: The file cannot be read, or has no certificate.
        """
        return binding_of_certificate(self._own)

    def issue(self, agent: SubAgent, request: str) -> str:
        """Return a certificate for the key of a CSR (PEM), and its chain to the root (PEM).

        From now on, the tokens of the branch are bound to this certificate. It ends with the token
        that the branch has now: before that, call this again, with a CSR of the same key or of
        another one.

        Raises:
            BranchRevokedError: The branch was revoked.
            ServiceConnectionError: The API cannot be reached, or cannot sign now: call again.
            IssuerError: The API refuses; or the next token cannot be minted. The tokens of the
                branch are bound as before.
        """
        chain = self._client.branch_certificate(request, agent.token())
        binding = binding_of_pem(chain.encode())
        agent.refresh(binding=binding, reason="bound to a new certificate")
        return chain
