"""Signs requests to an S3-compatible service with AWS Signature Version 4.

"Authenticating Requests (AWS Signature Version 4)" in the Amazon S3 API Reference. Services of
others take the same signature. The tests compare it with that of botocore, Amazon's own library.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-._~"  # beside letters and digits (RFC 3986, section 2.3)


class S3Keys(NamedTuple):
    """The keys of a user; `session_token` only if they are temporary."""

    key_id: str
    secret_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return f"S3Keys({self.key_id!r}, …)"


def path_text(path: str) -> str:
    """Return a path as the request has it and as it is signed."""
    return quote(path, safe=f"/{_UNRESERVED}")


def query_text(query: Mapping[str, str]) -> str:
    """Return a query as the request has it and as it is signed."""
    pairs = sorted((_escaped(name), _escaped(value)) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


class S3Request(NamedTuple):
    """A request before it is signed.

    `host` is the value of its Host field, and `fields` are further ones, with names in lower case.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    fields: Mapping[str, str]
    body: bytes = b""

    @property
    def target(self) -> str:
        """What stands in its first line."""
        return path_text(self.path) + (f"?{query_text(self.query)}" if self.query else "")


def signed_fields(
    request: S3Request, keys: S3Keys, region: str, moment: datetime
) -> dict[str, str]:
    """Return the fields of a request, with those of its signature at a time in UTC."""
    time, digest = f"{moment:%Y%m%dT%H%M%SZ}", sha256(request.body).hexdigest()
    found = {**request.fields, "x-amz-date": time, "x-amz-content-sha256": digest}
    if keys.session_token:
        found["x-amz-security-token"] = keys.session_token
    signed = sorted({**found, "host": request.host}.items())
    names = ";".join(name for name, _ in signed)
    canonical = "\n".join(
        [
            request.method,
            path_text(request.path),
            query_text(request.query),
            *(f"{name}:{' '.join(value.split())}" for name, value in signed),
            "",
            names,
            digest,
        ]
    )
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    text = "\n".join([_ALGORITHM, time, scope, sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    found["authorization"] = (
        f"{_ALGORITHM} Credential={keys.key_id}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return found


def _escaped(text: str) -> str:
    return quote(text, safe=_UNRESERVED)
