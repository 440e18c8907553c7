"""A token alone never crosses between crews; on a connection of its crew's certificate it does."""

from pathlib import Path

import forged_certificates
import pytest
from authority import Files
from mtls_gateway import Boundary

AGENTS, ALL, EITHER = 0, 1, 6
VERSIONS = pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])


def _of(boundary: Boundary, crew: str) -> Files:
    return boundary.issue(forged_certificates.bd(f"{crew}-1", crew=crew)).files


def _call(boundary: Boundary, files: Files | None, offset: int, http2: bool) -> tuple[int, str]:
    """A tool of finance, with a token of bd that grants it: status and reason."""
    token = boundary.token("bd", "reports.*")
    with boundary.http(files, offset, http2=http2) as client:
        answer = client.post("/reports", headers={"authorization": f"Bearer {token}"})
    kind = answer.json().get("type", "") if answer.status_code != 200 else ""
    return answer.status_code, kind.rpartition("/")[2]


@VERSIONS
def test_a_token_alone_never_crosses(boundary: Boundary, http2: bool) -> None:
    """Refused where nobody shows a certificate, and where nobody has to."""
    assert _call(boundary, None, AGENTS, http2) == (401, "binding-mismatch")
    assert _call(boundary, None, EITHER, http2) == (401, "binding-mismatch")


@VERSIONS
@pytest.mark.parametrize("crew", ["finance", "article"])
def test_nor_over_a_connection_of_another_crew(boundary: Boundary, crew: str, http2: bool) -> None:
    """Not even over one of the tool's owner: it is the caller who must be known."""
    for offset in (ALL, EITHER):
        assert _call(boundary, _of(boundary, crew), offset, http2) == (401, "binding-mismatch")


@VERSIONS
def test_with_its_crews_certificate_it_crosses(boundary: Boundary, http2: bool) -> None:
    """On the listener that demands one and on the one that does not."""
    files = _of(boundary, "bd")
    assert _call(boundary, files, ALL, http2) == (200, "")
    assert _call(boundary, files, EITHER, http2) == (200, "")


def test_the_owner_needs_no_certificate_for_its_own_tool(boundary: Boundary) -> None:
    """Inside a crew a token is enough."""
    token = boundary.token("finance", "reports.*")
    with boundary.http(None, AGENTS) as client:
        answer = client.post("/reports", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_a_certificate_is_no_token(boundary: Boundary, tmp_path: Path) -> None:
    """Whoever has only the certificate is asked for a token like anybody else."""
    with boundary.http(_of(boundary, "bd"), ALL) as client:
        answer = client.post("/reports")
    assert answer.status_code == 401
    assert answer.json()["type"].endswith("/missing-token")
