"""Reads the version and the extensions that a request asks for (A2A 1.0, sections 3.2.6 and 3.6).

Both are header fields, or metadata of gRPC. The gateway writes them anew, so no server can read
another value than the gateway did.
"""

import re
from collections.abc import Collection, Sequence

from crewgate import limits
from crewgate.core.a2a.errors import INVALID_REQUEST, VERSION_NOT_SUPPORTED, A2AError
from crewgate.core.a2a.methods import Version
from crewgate.core.http_types import HeaderField

VERSION, EXTENSIONS = b"a2a-version", b"a2a-extensions"
V0_3_EXTENSIONS = b"x-a2a-extensions"
# The gateway writes these anew.
REPEATED = frozenset({VERSION, EXTENSIONS, V0_3_EXTENSIONS})
_VERSION_PARAMETER = "a2a-version"
# A number of the patch has no meaning on the wire (section 3.6).
_FORM = re.compile(r"([0-9]{1,4}\.[0-9]{1,4})(?:\.[0-9]{1,4})?")
_URI = re.compile(r"[!-+\--~]+")  # visible ASCII, except the comma between two of them


def requested_version(
    headers: Sequence[HeaderField],
    query: Sequence[tuple[str, str]],
    served: Collection[Version],
) -> Version | None:
    """Return the version that a request names; None if it names none.

    The version may stand in the header, or among the parameters of the query. A request that names
    none is one of version 0.3, but clients of version 1.0 forget it too. So the name of its method
    decides then.

    Raises:
        A2AError: The request names two versions, or one that is not `served`.
    """
    named = [value.decode("latin-1").strip() for name, value in headers if name == VERSION]
    named += [value.strip() for name, value in query if is_version(name)]
    found = {name for name in named if name}
    if not found:
        return None
    texts = {match[1] for name in found if (match := _FORM.fullmatch(name))}
    if len(found) > 1 and len(texts) != 1:
        raise A2AError(INVALID_REQUEST, "the request names two versions of A2A")
    for version in served:
        if texts == {version.value}:
            return version
    raise unsupported(served)


def version_of_card(headers: Sequence[HeaderField], served: Collection[Version]) -> Version | None:
    """Return the version in which a client asks for the card; None if it names no served one.

    The card says which versions there are, so another version is no error here.
    """
    try:
        return requested_version(headers, (), served)
    except A2AError:
        return None


def unsupported(served: Collection[Version]) -> A2AError:
    """Return the error for a version that an endpoint does not serve."""
    names = ", ".join(sorted(version.value for version in served))
    return A2AError(
        VERSION_NOT_SUPPORTED, f"this endpoint serves {names}", {"supportedVersions": names}
    )


def check_agreement(
    requested: Version | None, version: Version, served: Collection[Version]
) -> None:
    """Check that a method of `version` is asked for by a request of the same version.

    Raises:
        A2AError: The versions differ, or the endpoint does not serve the method's.
    """
    if version not in served or requested not in {None, version}:
        raise unsupported(served)


def requested_extensions(headers: Sequence[HeaderField]) -> tuple[str, ...]:
    """Return the URIs of the extensions that a request asks for, each once.

    Raises:
        A2AError: There are too many, or one is not visible ASCII.
    """
    found: dict[str, None] = {}
    for name, value in headers:
        if name in {EXTENSIONS, V0_3_EXTENSIONS}:
            texts = (text.strip() for text in value.decode("latin-1").split(","))
            found.update((text, None) for text in texts if text)
    if len(found) > limits.a2a_extensions_max:
        raise A2AError(INVALID_REQUEST, f"more than {limits.a2a_extensions_max} extensions")
    for uri in found:
        if len(uri) > limits.a2a_text_chars_max or not _URI.fullmatch(uri):
            raise A2AError(INVALID_REQUEST, "the name of an extension is not a URI")
    return tuple(found)


def canonical_headers(
    requested: Version | None, version: Version, extensions: Sequence[str]
) -> list[HeaderField]:
    """Return the header fields for the agent. Version 0.3 has another name for the extensions."""
    headers = [] if requested is None else [(VERSION, requested.value.encode())]
    if extensions:
        value = ",".join(extensions).encode()
        headers.append((EXTENSIONS, value))
        if version is Version.V0_3:
            headers.append((V0_3_EXTENSIONS, value))
    return headers


def is_version(name: str) -> bool:
    """Return whether a parameter of a query names the version."""
    return name.lower() == _VERSION_PARAMETER
