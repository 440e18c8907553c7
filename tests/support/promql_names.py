"""The metrics, labels and label values that a query of Prometheus names, and whether they exist."""

import re
from typing import NamedTuple

from crewgate.core.anomaly.enforcement import TransitionCause
from crewgate.core.audit.records import CallOutcome
from crewgate.core.gossip.messages import MemberState
from crewgate.core.health import HealthState
from crewgate.core.problem_types import PROBLEM_TYPES
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import RuleStep
from crewgate.metrics.families import FAMILIES
from crewgate.server.listener_counters import ListenerCounters

ROUND = {"job", "instance"}  # what Prometheus adds to each series
_OTHERS = {"up": ROUND, "ALERTS": {*ROUND, "alertname", "alertstate", "severity"}}
_NAME = re.compile(r"(?<![\w:$.])(?:crewgate_\w+|[a-z_]+:[\w:]+|up|ALERTS)\b")
_SELECTOR = re.compile(r"([\w:]+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)")
_STRING = re.compile(r'"[^"]*"')


class Named(NamedTuple):
    """The metrics in a query; the labels that it groups by; and what is wrong with it."""

    metrics: set[str]
    groups: set[str]
    faults: list[str]


def _declared() -> dict[str, set[str]]:
    found = dict(_OTHERS)
    for family in FAMILIES:
        labels = ROUND | set(family.labels)
        if family.kind == "histogram":
            found |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
            found[f"{family.name}_bucket"] = {*labels, "le"}
        else:
            found[family.name] = labels
    return found


DECLARED = _declared()


def _counted(label: str) -> set[str]:
    """The values that the counters of a listener give to their last label."""
    counters = (getattr(ListenerCounters, name) for name in dir(ListenerCounters))
    found = (each for each in counters if label in getattr(each, "_family", FAMILIES[0]).labels)
    return {value for each in found for value in each._labels}


_VALUES = {
    "outcome": set(CallOutcome),
    "reason": {each.value for each in Reason}
    | {each.slug for each in PROBLEM_TYPES.values()}
    | {"allowance-exhausted", "audit-unavailable"},
    "step": {each.value for each in (*TransitionCause, *RuleStep)},
    "state": {each.value for each in HealthState} | {each.name.lower() for each in MemberState},
    "limit": _counted("limit"),
    "effect": _counted("effect"),
    "result": _counted("result"),
}


def named(query: str, recorded: dict[str, set[str]] | None = None) -> Named:
    """Look at a query; `recorded` has the labels of the metrics that recording rules make."""
    known = DECLARED | (recorded or {})
    bare = _STRING.sub('""', query)
    metrics = set(_NAME.findall(bare))
    faults = [f"no metric {name}" for name in sorted(metrics - known.keys())]
    labels = ROUND.union(*(known.get(name, set()) for name in metrics))
    for name, matchers in _SELECTOR.findall(query):
        for label, value in _MATCHER.findall(matchers):
            if label not in known.get(name, set()):
                faults.append(f"{name} has no label {label}")
            faults += [
                f"no {label} is {each}"
                for each in (value.split("|") if label in _VALUES else ())
                if each and each.replace("-", "").isalpha() and each not in _VALUES[label]
            ]
    groups = {each for part in _GROUPING.findall(bare) for each in re.findall(r"\w+", part)}
    faults += [f"no metric has the label {each}" for each in sorted(groups - labels)]
    return Named(metrics, groups, faults)


def labels_of(query: str, recorded: dict[str, set[str]]) -> set[str]:
    """The labels of the result of a query that is an aggregation, or a comparison."""
    first = re.match(r"\s*\w+ by \(([^)]*)\)", query)
    if first:
        return set(re.findall(r"\w+", first[1]))
    known = DECLARED | recorded
    return set().union(*(known[name] for name in named(query, recorded).metrics))
