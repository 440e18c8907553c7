"""The audit over the control API: its parameters, and what the agent makes of them."""

from pathlib import Path

import pytest

from crewgate.control.cluster_audit import read
from crewgate.errors import ControlError, ServiceConnectionError


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"branch": "7c0a"}, "not a branch id"),
        ({"since": "soon"}, "not a time"),
        ({"certificate": "xyz"}, "not a serial number"),
        ({"by": "colour"}, "colour"),
        (
            {"list": "secrets"},
            "list: expected one of calls, connections, watch, rules",
        ),
        ({"tool": "a b"}, "not a tool"),
    ],
)
def test_a_parameter_that_says_nothing_is_refused(
    tmp_path: Path, query: dict[str, str], says: str
) -> None:
    """Before the agent is asked."""
    with pytest.raises(ControlError, match=says) as refused:
        read(tmp_path, {"limit": "50"} | query)
    assert refused.value.status == 400


def test_without_an_agent_there_is_no_answer(tmp_path: Path) -> None:
    """The control process has no right to read for it."""
    with pytest.raises(ServiceConnectionError):
        read(tmp_path, {"denied": "true", "by": "role", "since": "2h", "limit": "1"})
