"""An ngh2 that lacks something, or behaves differently, is refused with one line that says so."""

from collections.abc import Callable
from typing import Any

import ngh2
import pytest

from crewgate.errors import DependencyError
from crewgate.runtime import http2_self_test


class Deaf(ngh2.Connection):
    """An engine whose windows stay as they are."""

    def acknowledge_received_data(self, amount: int, stream_id: int) -> None:
        """Open no window."""


def that_ignores(name: str, make: Any = ngh2.Configuration) -> Callable[..., ngh2.Configuration]:
    """A maker of limits that keeps the default of the limit `name`."""
    return lambda **limits: make(**{key: limits[key] for key in limits.keys() - {name}})


@pytest.mark.parametrize(
    ("name", "stand_in", "fault"),
    [
        ("Connection", Deaf, 'it does not keep "A client sends no more of a body'),
        (
            "Configuration",
            that_ignores("max_inbound_header_count"),
            'it does not keep "A request with too many fields',
        ),
        (
            "Configuration",
            that_ignores("stream_reset_rate_limit"),
            'it does not keep "A client that resets one stream',
        ),
        ("Configuration", None, "failed with TypeError("),
    ],
)
def test_another_ngh2_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, stand_in: object, fault: str
) -> None:
    """The text names the version, what it does differently, and what to install."""
    monkeypatch.setattr(ngh2, name, stand_in)
    with pytest.raises(DependencyError) as refusal:
        http2_self_test.self_test()
    assert f"Crewgate cannot use ngh2 {ngh2.__version__}: " in str(refusal.value)
    assert fault in str(refusal.value)
    assert str(refusal.value).endswith("run pip install 'ngh2<1,>=0.2'")


def test_the_installed_ngh2_is_good() -> None:
    """The test does not refuse what it should take."""
    http2_self_test.self_test()
