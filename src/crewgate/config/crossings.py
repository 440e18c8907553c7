"""The [[crossing]] sections: their keys, and what must hold between them and the other sections.

Returns problems as lines that name the key to mend. Opens no file.
"""

from collections.abc import Iterator

from crewgate import limits
from crewgate.config import values
from crewgate.config.crossing_model import CrossingConfig
from crewgate.config.model import Config
from crewgate.config.section import Section
from crewgate.core.policy.scope import matches

_TOOLS = values.listed(values.TOOL_PATTERN, limits.allowed_tools_max, least=1)
_ALLOWANCE = values.credits_up_to(limits.quota_micro_max)
_CEILINGS = ("credits_per_hour", "credits_per_run")


def read_crossings(top: Section) -> tuple[CrossingConfig, ...]:
    """All of them, in the order of the file."""
    return tuple(_crossing(item) for item in top.items("crossing", limits.crossings_max))


def _crossing(section: Section) -> CrossingConfig:
    if not set(_CEILINGS) & set(section.keys()):
        section.problem(
            f"expected {_CEILINGS[0]}, {_CEILINGS[1]} or both: nothing else bounds what it costs"
        )
    crossing = CrossingConfig(
        source=section.required("from", values.NAME),
        target=section.required("to", values.NAME),
        tools=section.required("tools", _TOOLS),
        **{key: section.optional(key, _ALLOWANCE, limits.quota_micro_max) for key in _CEILINGS},
    )
    section.close()
    return crossing


def check_crossings(config: Config) -> Iterator[str]:
    """Every problem of the crossings of a file whose sections are sound by themselves."""
    known = {crew.name for crew in config.crews}
    seen: dict[str, int] = {}
    for number, crossing in enumerate(config.crossings):
        where = f"crossing[{number}]"
        for key, crew in (("from", crossing.source), ("to", crossing.target)):
            if crew not in known:
                names = ", ".join(sorted(known)) or "none"
                yield f'{where}.{key} = "{crew}": no such crew; known: {names}'
        if crossing.source == crossing.target:
            yield f"{where}.to: the same crew; its own tools want a token, which it can mint"
        first = seen.setdefault(crossing.account, number)
        if first != number:
            yield f"{where}: the same from and to as crossing[{first}]; list all tools in one"
        yield from _too_long(where, crossing)
        yield from _uncovered(where, crossing, config)


def _too_long(where: str, crossing: CrossingConfig) -> Iterator[str]:
    """What would not fit into a token: the account's name is one claim, the tools are another."""
    if len(crossing.account) > limits.claim_chars_max:
        yield (
            f"{where}.to: the names of both crews have {len(crossing.account) - 1} characters; at "
            f"most {limits.claim_chars_max - 1} are possible"
        )
    length = sum(map(len, crossing.tools))
    if length > limits.crossing_tools_chars_max:
        yield (
            f"{where}.tools: {length} characters in all; at most "
            f"{limits.crossing_tools_chars_max} are possible: use patterns"
        )


def _uncovered(where: str, crossing: CrossingConfig, config: Config) -> Iterator[str]:
    owned = [tool.name for tool in config.tools if tool.owner == crossing.target]
    for pattern in crossing.tools:
        if not any(matches(pattern, tool) for tool in owned):
            yield (
                f'{where}.tools: "{pattern}" covers no tool whose owner is "{crossing.target}"; '
                f"it owns: {', '.join(owned) or 'none'}"
            )
