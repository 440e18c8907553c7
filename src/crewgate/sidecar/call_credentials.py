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
from crewgate.issuer.proof_key import ProofKey
from crewgate.issuer.token_schemes import DPoPScheme

_AUTHORIZATION, _DPOP = b"authorization", b"dpop"
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
        self._scheme = DPoPScheme(key)
        self._bound_to = key.binding.jkt
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
            *self._proven(token, method, target),
        ]

    def take_nonce(self, status: int, fields: Sequence[HeaderField]) -> bool:
        """See `CallCredentials`."""
        if not values(fields, DPOP_NONCE):
            return False
        headers = {
            name: b", ".join(values(fields, name.lower().encode())).decode("latin-1")
            for name in ("DPoP-Nonce", "WWW-Authenticate")
        }
        return self._scheme.take_nonce(self._origin, status, headers)

    def _proven(self, token: str, method: bytes, target: bytes) -> list[HeaderField]:
        url = self._origin + target.decode("latin-1")
        fields = self._scheme.fields(token, method.decode("latin-1"), url)
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]

    def _is_ours(self, token: str) -> bool:
        """Return whether a token is bound to the sidecar's key."""
        known = self._is_bound.get(token)
        if known is None:
            try:
                cnf = read_claims(token).cnf
            except IssuerError:
                cnf = None
            known = cnf is not None and cnf.jkt == self._bound_to
            if len(self._is_bound) >= limits.sidecar_tokens_max:
                del self._is_bound[next(iter(self._is_bound))]
            self._is_bound[token] = known
        return known


class BranchCredentials(ProofCredentials):
    """Replaces whatever credentials a request has by the token of one branch, and adds a proof.

    `token` is the newest token; empty if the branch has ended.
    """

    def __init__(self, key: ProofKey, origin: str) -> None:
        super().__init__(key, origin)
        self.token = ""

    def shown(self, method: bytes, target: bytes, fields: list[HeaderField]) -> list[HeaderField]:
        """See `CallCredentials`."""
        token = self.token
        if not token:
            raise SidecarError("the branch has ended")
        return [
            *(field for field in fields if field[0] not in _REPLACED),
            *self._proven(token, method, target),
        ]
