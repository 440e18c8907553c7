"""The slow, obvious model of `_native/token`: the standard library and regular expressions.

Says True or False where the native code gives parts or raises. Reads as the rules of the design.
"""

import base64
import json
import re
import unicodedata
import uuid
from typing import Any

from crewgate.core.policy import scope

TEXT = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")
TEXT_CLAIMS = ("iss", "sub", "client_id", "jti", "crew", "process_id", "agent_role")


def strict_json(data: bytes) -> dict[str, Any]:
    """The one object that `data` is; ValueError if two readers could differ about it."""
    if len(data) > 4096:
        raise ValueError("too long")
    text = data.decode("utf-8")
    value = json.loads(text, object_pairs_hook=_members, parse_constant=_no_constant)
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004 - one kind of refusal
    _walk(value, 1)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > 64 or len(dict(pairs)) != len(pairs):
        raise ValueError("too many members, or one twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _walk(value: object, depth: int) -> None:
    if isinstance(value, str):
        if any(unicodedata.category(char) in {"Cc", "Cs"} for char in value):
            raise ValueError("control character or surrogate")
        return
    if isinstance(value, dict | list) and depth > 10:
        raise ValueError("too deep")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    for element in value if isinstance(value, list) else ():
        _walk(element, depth + 1)


def is_text(value: object) -> bool:
    """A text of the design's alphabet."""
    return isinstance(value, str) and TEXT.fullmatch(value) is not None


def is_number(value: object, most: int) -> bool:
    """A JSON integer from 0 to `most`; neither a float nor a bool."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def is_id(value: object) -> bool:
    """A UUID exactly as RFC 9562 writes it, not nil."""
    try:
        return str(uuid.UUID(str(value))) == value and uuid.UUID(value).int != 0
    except ValueError:
        return False


def is_audience(value: object) -> bool:
    """A text, or one to eight of them."""
    return is_text(value) or (
        isinstance(value, list) and 1 <= len(value) <= 8 and all(map(is_text, value))
    )


def is_path_element(value: object) -> bool:
    """An ancestor's id, quota and, perhaps, time."""
    return (
        isinstance(value, dict)
        and is_id(value.get("id"))
        and is_number(value.get("credit_quota"), 2**53 - 1)
        and ("iat" not in value or is_number(value["iat"], 2**33))
    )


def is_confirmation(value: object) -> bool:
    """One or both of the two ways to name a key, and nothing else; each digest is 32 bytes."""
    return (
        isinstance(value, dict)
        and len(value) >= 1
        and set(value) <= {"jkt", "x5t#S256"}
        and all(isinstance(digest, str) and is_digest(digest) for digest in value.values())
    )


def are_actors(value: object, branches: int) -> bool:
    """One actor for each of the branches, each within the one that it has spawned."""
    for _ in range(branches):
        if not isinstance(value, dict) or not is_text(value.get("sub")):
            return False
        value = value.get("act", ...)
    return value is ...


def is_digest(text: str) -> bool:
    """Canonical base64url of 32 bytes."""
    try:
        return len(decode(text.encode())) == 32
    except ValueError:
        return False


def are_claims(value: dict[str, Any]) -> bool:
    """Every rule that holds whatever key signed."""
    path = value.get("branch_path")
    tools = value.get("allowed_tools")
    if not isinstance(path, list) or len(path) > 8 or not all(map(is_path_element, path)):
        return False
    ids = [element["id"] for element in path] + [value.get("execution_branch_id")]
    times = [element.get("iat", 0) for element in path]
    return (
        all(is_text(value.get(name)) for name in TEXT_CLAIMS)
        and is_audience(value.get("aud"))
        and all(is_number(value.get(name), 2**33) for name in ("iat", "exp"))
        and ("nbf" not in value or is_number(value["nbf"], 2**33))
        and ("cnf" not in value or is_confirmation(value["cnf"]))
        and ("act" not in value or are_actors(value["act"], len(ids)))
        and ("process_proven" not in value or value["process_proven"] is True)
        and is_number(value.get("credit_quota"), 2**53 - 1)
        and isinstance(tools, list)
        and 1 <= len(tools) <= 64
        and all(isinstance(tool, str) and scope.is_pattern(tool) for tool in tools)
        and is_id(ids[-1])
        and len(set(ids)) == len(ids)
        and max(times, default=0) <= value["iat"] + 5  # seconds between two clocks
    )


def accepts_payload(data: bytes) -> bool:
    """Whether `claims` of the native code must return."""
    try:
        value = strict_json(data)
    except (ValueError, RecursionError):
        return False
    return are_claims(value)


def decode(segment: bytes) -> bytes:
    """Canonical base64url; ValueError for any other writing of the same bytes."""
    if not re.fullmatch(rb"[A-Za-z0-9_-]+", segment):
        raise ValueError("alphabet")
    data = base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=") != segment:
        raise ValueError("bits left over")
    return data


def split(token: bytes) -> tuple[str, bytes, bytes, bytes] | None:
    """What the native `split` returns, or None where it raises."""
    if len(token) > 4096 or token.count(b".") != 2:
        return None
    head, body, tail = token.split(b".")
    try:
        header, payload, signature = strict_json(decode(head)), decode(body), decode(tail)
    except ValueError:
        return None
    if (
        len(signature) != 64
        or set(header) != {"alg", "typ", "kid"}
        or header["alg"] not in ("EdDSA", "Ed25519")
        or header["typ"] != "at+jwt"
        or not is_text(header["kid"])
    ):
        return None
    return header["kid"], head + b"." + body, payload, signature
