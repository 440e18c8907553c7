"""How header fields say that a body is to be decoded.

The gateway judges a body as it comes. In another charset or coding the same bytes can be another
message: "+ACI-" is a quote in UTF-7, and JSON can be a text in DEFLATE. So an endpoint that judges
a body judges these fields too.
"""

import re
from collections.abc import Collection, Sequence

from crewgate.core.http_types import HeaderField

CONTENT_TYPE, CONTENT_ENCODING = b"content-type", b"content-encoding"
_OTHER_CHARSET = re.compile(rb";\s*charset\s*=\s*(?!\"?utf-?8\"?\s*(?:;|\Z))", re.IGNORECASE)


def encoding_problem(headers: Sequence[HeaderField], media_types: Collection[bytes]) -> str:
    """Return why a body could be read otherwise than it comes; "" if it could not.

    `media_types` are those that it may have, in lower case. A request may also name none.
    """
    types = [value for name, value in headers if name == CONTENT_TYPE]
    codings = [value for name, value in headers if name == CONTENT_ENCODING]
    if len(types) > 1:
        return f"The request has the header Content-Type {len(types)} times."
    for value in types:
        if media_type(value) not in media_types:
            return f"The Content-Type is not {_choices(media_types)}."
        if _OTHER_CHARSET.search(value):
            return "The body is not in UTF-8."
    if any(value.strip().lower() != b"identity" for value in codings):
        return "The body is compressed. Send it as it is."
    return ""


def media_type(content_type: bytes) -> bytes:
    """Return a media type in lower case, without its parameters."""
    return content_type.partition(b";")[0].strip().lower()


def _choices(media_types: Collection[bytes]) -> str:
    return " or ".join(each.decode() for each in sorted(media_types))
