"""`[crew.NAME.watch]`: what it can say, what holds without it, how mistakes are told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import load
from crewgate.core.anomaly.baseline import SensitivityLevel
from crewgate.core.anomaly.enforcement import EnforcementLevel
from crewgate.core.anomaly.types import WatchRules
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
WATCH = """
[crew.article.watch]
mode = "throttle"
sensitivity = "high"
strikes = 5
calm_seconds = 600
quarantine_seconds = 7200
mints_per_minute = 30
newcomers_per_minute = 3
fan_out = 12
depth = 2
scope_patterns = 4
credits_per_hour = "250"
extensions = 0
"""


def test_every_key_arrives(write: Write, whole: str) -> None:
    """Credits become micro-credits, and a ceiling of 0 is not the same as none."""
    (crew,) = load(write(whole + WATCH)).crews
    assert crew.watch == WatchRules(
        mode=EnforcementLevel.THROTTLE,
        sensitivity=SensitivityLevel.HIGH,
        strikes=5,
        calm_seconds=600.0,
        quarantine_seconds=7200,
        mints_per_minute=30,
        newcomers_per_minute=3,
        fan_out=12,
        depth=2,
        scope_patterns=4,
        credits_per_hour=250_000_000,
        extensions=0,
    )


@pytest.mark.parametrize("section", ["", "\n[crew.article.watch]\n"])
def test_a_silent_file_observes_without_ceilings(write: Write, whole: str, section: str) -> None:
    """Nobody is throttled who did not ask for it."""
    (crew,) = load(write(whole + section)).crews
    assert crew.watch == WatchRules()
    assert crew.watch.mode is EnforcementLevel.OBSERVE


BAD = [
    ('"throttle"', '"enforce"', 'mode = "enforce": expected "observe" or "throttle" or "quara'),
    ('"high"', "3", 'sensitivity = 3: expected "low" or "normal" or "high"'),
    ("strikes = 5", "strikes = 0", "strikes = 0: expected a whole number from 1 to 60"),
    ("calm_seconds = 600", "calm_seconds = 1", "calm_seconds = 1: expected seconds, from 60 to"),
    ("seconds = 7200", "seconds = 59", "quarantine_seconds = 59: expected a whole number from 60"),
    ("mints_per_minute = 30", "mints_per_minute = 0", "mints_per_minute = 0: expected a whole"),
    ("fan_out = 12", "fan_out = true", "fan_out = true: expected a whole number"),
    ("\ndepth = 2", "\ndepth = 9", "depth = 9: expected a whole number from 0 to 8"),
    ("scope_patterns = 4", "scope_patterns = 65", "scope_patterns = 65: expected"),
    ('"250"', "250", "credits_per_hour = 250: expected credits as a text"),
    ("extensions = 0", "extensions = -1", "extensions = -1: expected a whole number from 0"),
    ("fan_out = 12", "fanout = 12", 'fanout: unknown key; did you mean "fan_out"?'),
]


@pytest.mark.parametrize(("good", "bad", "told"), BAD)
def test_one_wrong_thing_is_refused_where_it_stands(
    write: Write, whole: str, good: str, bad: str, told: str
) -> None:
    """The error names the key's whole path, the value, and what was expected."""
    assert good in WATCH
    with pytest.raises(ConfigurationError) as caught:
        load(write(whole + WATCH.replace(good, bad, 1)))
    assert f"crew.article.watch.{told}" in str(caught.value)


def test_what_the_document_writes_is_a_configuration(write: Write, whole: str) -> None:
    """And what it calls a default is one."""
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "quarantine.md").read_text()
    section = "[crew.article.watch]" + text.split("[crew.article.watch]")[1].split("```")[0]
    (crew,) = load(write(f"{whole}\n{section}")).crews
    default = WatchRules()
    assert (crew.watch.sensitivity, crew.watch.strikes, crew.watch.calm_seconds) == (
        default.sensitivity, default.strikes, default.calm_seconds,
    )  # fmt: skip
    assert crew.watch.quarantine_seconds == default.quarantine_seconds
    assert crew.watch.credits_per_hour == 500_000_000
