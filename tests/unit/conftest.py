"""Fixtures of the tests of servers and clients."""

import pytest

from crewgate._datapath import http2_engine


@pytest.fixture(params=["native", "ngh2"])
def each_http2_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the native engine of HTTP/2, and with ngh2's."""
    if request.param == "ngh2":
        monkeypatch.setattr(http2_engine, "library", None)
