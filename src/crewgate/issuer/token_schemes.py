"""How a client shows a token: with the scheme Bearer, or with DPoP and a proof of its key."""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from crewgate import limits
from crewgate.issuer.proof_key import ProofKey

FIELD = "Authorization"  # RFC 6750, section 2.1
_PROOF, _NONCE = "DPoP", "DPoP-Nonce"
_CHALLENGE = "WWW-Authenticate"
_WANTS_NONCE = 'error="use_dpop_nonce"'  # RFC 9449, section 9
_UNAUTHORIZED = 401


class TokenScheme(Protocol):
    """One of the two schemes."""

    def fields(self, token: str, method: str, url: str) -> Mapping[str, str]:
        """Return the header fields that show a token in a request."""

    def take_nonce(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Remember the nonce of an answer, if it has one.

        Return whether the server asks for the request again, with a proof that has this nonce.
        """


class BearerScheme:
    """The token alone (RFC 6750)."""

    def fields(self, token: str, method: str, url: str) -> Mapping[str, str]:  # noqa: ARG002 - a `TokenScheme`
        """Return the field Authorization."""
        return {FIELD: f"Bearer {token}"}

    def take_nonce(self, url: str, status: int, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - a `TokenScheme`
        """Return False."""
        return False


class DPoPScheme:
    """The token and a proof of `key` (RFC 9449, section 7.1).

    It remembers the last nonce of each server (section 8.2 there), of at most
    `limits.proof_servers_max` servers. `behind_sidecar`: a sidecar carries the requests on over
    https, so their proofs name https in the place of http.
    """

    def __init__(self, key: ProofKey, *, behind_sidecar: bool = False) -> None:
        self._key = key
        self._behind_sidecar = behind_sidecar
        self._nonces: dict[str, str] = {}

    def fields(self, token: str, method: str, url: str) -> Mapping[str, str]:
        """Return the fields Authorization and DPoP."""
        nonce = self._nonces.get(_server(url), "")
        if self._behind_sidecar and url.startswith("http:"):
            url = f"https:{url.removeprefix('http:')}"
        proof = self._key.proof(token, method, url, nonce)
        return {FIELD: f"DPoP {token}", _PROOF: proof}

    def take_nonce(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Remember the nonce of an answer; return whether the server asks for it."""
        nonce = headers.get(_NONCE, "")
        if not nonce:
            return False
        self._nonces.pop(_server(url), None)
        self._nonces[_server(url)] = nonce
        if len(self._nonces) > limits.proof_servers_max:
            del self._nonces[next(iter(self._nonces))]
        return status == _UNAUTHORIZED and _WANTS_NONCE in headers.get(_CHALLENGE, "")


def scheme_of(key: ProofKey | None, *, behind_sidecar: bool = False) -> TokenScheme:
    """Return how to show a token that is bound to `key`, or to no key; see `DPoPScheme`."""
    return BearerScheme() if key is None else DPoPScheme(key, behind_sidecar=behind_sidecar)


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
