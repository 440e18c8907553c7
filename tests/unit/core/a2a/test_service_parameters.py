"""The version and the extensions of a request, which may stand in more than one place."""

import pytest

from crewgate.core.a2a import query_parameters, service_parameters
from crewgate.core.a2a.errors import INVALID_REQUEST, VERSION_NOT_SUPPORTED, A2AError
from crewgate.core.a2a.methods import Version
from crewgate.core.http_types import HeaderField

BOTH = (Version.V1_0, Version.V0_3)


def version(headers: list[HeaderField], query: str = "") -> Version | None:
    """The version that a request names."""
    return service_parameters.requested_version(headers, query_parameters.parse(query), BOTH)


@pytest.mark.parametrize(
    ("header", "query", "expected"),
    [
        (None, "", None), ("", "", None), ("1.0", "", Version.V1_0), ("0.3", "", Version.V0_3),
        ("1.0.1", "", Version.V1_0), (None, "A2A-Version=1.0", Version.V1_0),
        (None, "x=1&a2a%2Dversion=0.3", Version.V0_3), ("1.0", "A2A-Version=1.0.2", Version.V1_0),
    ],
)  # fmt: skip
def test_the_version_stands_in_the_header_or_in_the_query(
    header: str | None, query: str, expected: Version | None
) -> None:
    """The number of the patch does not matter."""
    headers = [] if header is None else [(b"a2a-version", header.encode())]
    assert version(headers, query) is expected


@pytest.mark.parametrize(
    ("headers", "query", "kind"),
    [
        (["0.5"], "", VERSION_NOT_SUPPORTED), (["1"], "", VERSION_NOT_SUPPORTED),
        (["1.0 0.3"], "", VERSION_NOT_SUPPORTED), (["1.0", "0.3"], "", INVALID_REQUEST),
        (["1.0"], "A2A-Version=0.3", INVALID_REQUEST),
    ],
)  # fmt: skip
def test_an_unknown_version_or_two_versions_are_refused(
    headers: list[str], query: str, kind: object
) -> None:
    """The agent could read another version than the gateway did."""
    with pytest.raises(A2AError) as caught:
        version([(b"a2a-version", each.encode()) for each in headers], query)
    assert caught.value.kind is kind


def test_a_method_belongs_to_one_version() -> None:
    """A request that names no version gets that of its method's name."""
    service_parameters.check_agreement(None, Version.V1_0, BOTH)
    service_parameters.check_agreement(Version.V0_3, Version.V0_3, BOTH)
    for requested, served in ((Version.V1_0, BOTH), (None, (Version.V1_0,))):
        with pytest.raises(A2AError) as caught:
            service_parameters.check_agreement(requested, Version.V0_3, served)
        assert caught.value.kind is VERSION_NOT_SUPPORTED


def test_extensions_are_written_anew() -> None:
    """Both names of the header count, each URI goes upstream once, and ours comes last."""
    headers = [
        (b"a2a-extensions", b"https://a.example/v1, https://b.example/v1"),
        (b"x-a2a-extensions", b"https://a.example/v1,,"),
    ]
    found = service_parameters.requested_extensions(headers)
    assert found == ("https://a.example/v1", "https://b.example/v1")
    fields = service_parameters.canonical_headers(Version.V0_3, Version.V0_3, [*found, "urn:x"])
    value = b"https://a.example/v1,https://b.example/v1,urn:x"
    assert fields == [
        (b"a2a-version", b"0.3"),
        (b"a2a-extensions", value),
        (b"x-a2a-extensions", value),
    ]
    assert service_parameters.canonical_headers(None, Version.V1_0, []) == []
    for bad in (b"https://a.example/\x80", b"a b", b",".join(b"u%d" % at for at in range(33))):
        with pytest.raises(A2AError):
            service_parameters.requested_extensions([(b"a2a-extensions", bad)])
