"""Adds the credentials of a sidecar to a request of CMD: a token and a proof, or a proof alone.

The sidecar's key signs each proof (RFC 9449), and never leaves its memory.
"""

from collections.abc import Sequence

from crewgate import limits
from crewgate._native.fields import values
from crewgate.core.bearer import CARRIERS
from crewgate.core.http_types import HeaderField
from crewgate.core.problems import DPOP_NONCE
from crewgate.errors import IssuerError, SidecarError
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.proof_key import ProofKey, token_digest

_AUTHORIZATION, _DPOP = b"authorization", b"dpop"
_UNAUTHORIZED = 401
_WANTS_NONCE = b'error="use_dpop_nonce"'  # RFC 9449, section 9
# In each of these, a tool may look for a token.
_REPLACED = {_DPOP, *(carrier.encode() for carrier in CARRIERS)}


class ProofCredentials:
    """Adds a proof to each request that needs one and has none.

    CMD has the tokens. A request needs a proof if its Authorization has the scheme DPoP, or if its
    token is bound to `key`: so clients that only know the scheme Bearer can use bound tokens.
    `origin` is that of the gateway, such as `https://localhost:8444`.
    """

    def __init__(self, key: ProofKey, origin: str) -> None:
        self._origin = origin
        self._key = key
        self._nonce = ""  # the last one of the gateway (RFC 9449, section 8.2)
        self._is_bound: dict[str, bool] = {}  # by token, those of the last requests

    def shown(self, method: bytes, target: bytes, fields: list[HeaderField]) -> list[HeaderField]:
        """See `CallCredentials`."""
        given = values(fields, _AUTHORIZATION)
        if len(given) != 1 or values(fields, _DPOP):
            return fields
        scheme, _, rest = given[0].partition(b" ")
        token = rest.strip(b" ").decode("latin-1")
        is_proven = scheme.lower() == b"dpop"
        if not is_proven and not (scheme.lower() == b"bearer" and self._is_ours(token)):
            return fields
        return [
            *(field for field in fields if field[0] != _AUTHORIZATION),
            *self._proven(token, token_digest(token), method, target),
        ]

    def take_nonce(self, status: int, fields: Sequence[HeaderField]) -> bool:
        """See `CallCredentials`."""
        nonces = values(fields, DPOP_NONCE)
        if not nonces:
            return False
        self._nonce = nonces[-1].decode("latin-1")
        return status == _UNAUTHORIZED and any(
            _WANTS_NONCE in challenge for challenge in values(fields, b"www-authenticate")
        )

    def _proven(
        self, token: str, digest: str, method: bytes, target: bytes
    ) -> tuple[HeaderField, HeaderField]:
        url = self._origin + target.partition(b"?")[0].decode("latin-1")
        proof = self._key.proof_of(digest, method.decode("latin-1"), url, self._nonce)
        return (_AUTHORIZATION, b"DPoP " + token.encode("latin-1")), (_DPOP, proof.encode())

    def _is_ours(self, token: str) -> bool:
        """Return whether a token is bound to the sidecar's key."""
        known = self._is_bound.get(token)
        if known is None:
            try:
                cnf = read_claims(token).cnf
            except IssuerError:
                cnf = None
            known = cnf is not None and cnf.jkt == self._key.binding.jkt
            if len(self._is_bound) >= limits.sidecar_tokens_max:
                del self._is_bound[next(iter(self._is_bound))]
            self._is_bound[token] = known
        return known


class BranchCredentials(ProofCredentials):
    """Replaces whatever credentials a request has by the token of one branch, and adds a proof."""

    def __init__(self, key: ProofKey, origin: str) -> None:
        super().__init__(key, origin)
        self._token = self._digest = ""

    @property
    def token(self) -> str:
        """The newest token of the branch; empty if it has ended."""
        return self._token

    @token.setter
    def token(self, token: str) -> None:
        self._token, self._digest = token, token_digest(token)

    def shown(self, method: bytes, target: bytes, fields: list[HeaderField]) -> list[HeaderField]:
        """See `CallCredentials`."""
        token = self.token
        if not token:
            raise SidecarError("the branch has ended")
        return [
            *(field for field in fields if field[0] not in _REPLACED),
            *self._proven(token, self._digest, method, target),
        ]
