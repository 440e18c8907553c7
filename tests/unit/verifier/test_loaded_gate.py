"""A request to a gate carries a token, which must not get into a log."""

from unittest.mock import create_autospec

from crewgate.verifier.loaded_gate import GateRequest, LoadedGate


def test_the_repr_of_a_request_has_no_token() -> None:
    """A traceback or a log line may show the request."""
    request = GateRequest(create_autospec(LoadedGate, instance=True), b"a.secret.token", 3)
    assert repr(request) == "<GateRequest for tool 3>"
    assert "secret" not in f"{request!s}"
