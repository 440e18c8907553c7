"""Why calls failed: said at once, and then seldom."""

from crewgate import limits
from crewgate.errors import UpstreamError, UpstreamUnavailableError
from crewgate.upstream.failure_log import FailureLog


def test_the_first_is_said_and_the_others_are_counted() -> None:
    """A storm of failures is a line in ten seconds, and none of it is lost."""
    said: list[str] = []
    complaints = FailureLog("tools", said.append)
    for step in range(100):
        complaints.add(UpstreamError("it broke"), 1000.0 + step * limits.complaint_seconds / 99)
    assert said == [
        "upstream tools: a call failed: it broke",
        "upstream tools: a call failed: it broke; 98 more since the last of these lines",
    ]


def test_what_was_said_when_the_servers_were_given_up_is_not_said_again() -> None:
    """Calls that an open circuit refuses say nothing new."""
    said: list[str] = []
    FailureLog("tools", said.append).add(UpstreamUnavailableError("none answers", 1.0), 0.0)
    assert not said
