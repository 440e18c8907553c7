"""The one public document: which authorization servers this gateway trusts (RFC 9728).

Names issuers, not tools: what there is to call is told to holders of a token only.
"""

from collections.abc import Iterable

import msgspec

PATH = "/.well-known/oauth-protected-resource"


def document(audience: str, issuers: Iterable[str]) -> bytes:
    """Return the JSON of `/.well-known/oauth-protected-resource`."""
    return msgspec.json.encode(
        {
            "resource": audience,
            "authorization_servers": sorted(set(issuers)),
            "bearer_methods_supported": ["header"],
            "resource_name": "Crewgate",
        }
    )
