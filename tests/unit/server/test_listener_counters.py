"""Counters as a scrape shows them: every one described, none of them twice."""

import re

import msgspec

from crewgate import limits
from crewgate.server.listener_counters import TEXTS, ListenerCounters


def test_every_counter_says_what_it_counts() -> None:
    """Fields and texts are the same set, in the same order."""
    assert list(TEXTS) == list(ListenerCounters.__struct_fields__)


def test_descriptions_fit_prometheus() -> None:
    """Names end in _total, texts are one line; a value is the field's."""
    counters = ListenerCounters(bad_tokens=7)
    described = {one.name: one for one in counters.described()}
    assert len(described) == len(TEXTS)
    for one in described.values():
        assert re.fullmatch(r"crewgate_listener_[a-z_]+_total", one.name)
        assert one.help.endswith(".")
        assert "\n" not in one.help
        assert one.unit in {"connections", "requests", "times"}
    assert described["crewgate_listener_bad_tokens_total"].value == 7
    assert msgspec.structs.asdict(counters)["bad_tokens"] == 7


def test_bounds_that_texts_name_exist() -> None:
    """A text that sends an operator to a bound sends to one that is there."""
    named = [
        name for _, text in TEXTS.values() for name in re.findall(r"\b\w+_(?:max|burst)\b", text)
    ]
    assert len(named) > 10
    assert all(hasattr(limits, name) for name in named)
