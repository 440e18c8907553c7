"""The protected resource metadata (RFC 9728): which authorization servers this gateway trusts.

It is public, so it names issuers, but no tools.
"""

from collections.abc import Iterable

import msgspec

from crewgate.core.tokens.proof import PROOF_ALGORITHMS

PATH = "/.well-known/oauth-protected-resource"


def endpoint_path(path: str) -> str:
    """Return the path of the metadata of the endpoint at `path` (RFC 9728, section 3.1)."""
    return PATH + path


def document(audience: str, issuers: Iterable[str]) -> bytes:
    """Return the JSON of `/.well-known/oauth-protected-resource`."""
    return msgspec.json.encode(
        {
            "resource": audience,
            "authorization_servers": sorted(set(issuers)),
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": PROOF_ALGORITHMS,
            "resource_name": "Crewgate",
        }
    )
