"""Builds a policy from arguments, for a verifier that has no configuration file.

A crew has the keys that it has in the file (`config/crew`), and the errors are the same. Only its
public keys differ: they are a JWKS instead of a path.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, cast

from crewgate import limits
from crewgate.config import CrewConfig, values
from crewgate.config.call_limit import CallLimitConfig
from crewgate.config.call_limit_mistakes import mistakes_of
from crewgate.config.declaration import TableMap, TableSchema
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.core.anomaly.types import WatchRules
from crewgate.core.policy.policy import SHARED, Policy, ToolPolicy
from crewgate.core.policy.scope import is_tool_name
from crewgate.errors import ConfigurationError
from crewgate.policy.loader import crew_policy, parse_keys, unique_keys

Price = str | Mapping[str, str]  # in credits; a mapping also names the owner of the tool
WHERE = "Verifier.standalone"
_PRICE = values.credits_up_to(limits.price_micro_max)


def _jwks(value: object) -> bytes:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - every bad value raises ValueError
    try:
        return json.dumps(value).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _tool(value: object) -> tuple[int, str]:
    if not isinstance(value, dict):
        return _PRICE.read(value), SHARED
    if not {"price"} <= set(value) <= {"price", "owner"}:
        raise ValueError
    return _PRICE.read(value["price"]), values.NAME.read(value.get("owner", SHARED))


_TOOL = ValueParser(f'{_PRICE.expected}; or {{"price": …, "owner": a crew}}', _tool)
_JWKS = ValueParser('a JWKS as a dict: {"keys": [...]}', _jwks)


class _Arguments(TOMLTableReader):
    """Arguments of a program, which are dicts and not tables of a file."""

    expected_table = "a dict"


class _Crew(CrewConfig, frozen=True, kw_only=True):
    """A crew as a program gives it: with its keys, and without what only a machine needs."""

    keys: Annotated[bytes, _JWKS, "The crew's public keys."]
    tools: Annotated[tuple[str, ...], TableSchema(CrewConfig).parts["tools"]] = ()
    jwks: Path = Path()
    signing_key: Path | None = None
    watch: WatchRules = WatchRules()  # nobody is there who would act on it


_CREWS = TableMap(of=TableSchema(_Crew), max_count=limits.crews_max)
_LIMITS = TableMap(of=TableSchema(CallLimitConfig), max_count=limits.call_limits_max)


def policy_from_arguments(
    audience: str,
    tools: Mapping[str, Price],
    crews: Mapping[str, Mapping[str, object]],
    call_limits: Mapping[str, Mapping[str, object]],
) -> Policy:
    """Return the policy, as generation 1.

    `tools` are prices in credits by name, or {"price": …, "owner": a crew}. `crews` have the keys
    of a configuration file's [crew.NAME], with `keys` (a JWKS as a dict) instead of `jwks`.
    `call_limits` have those of [limit.NAME], without `concurrent`.

    Raises:
        ConfigurationError: An argument cannot be used; the text lists every mistake.
    """
    problems: list[str] = []
    arguments = {"audience": audience, "tools": tools, "crews": crews, "limits": call_limits}
    top = _Arguments({name: _plain(value) for name, value in arguments.items()}, "", problems)
    aud = top.required("audience", values.CLAIM)
    priced = _tools(top.child("tools"))
    owned = cast("tuple[_Crew, ...]", _CREWS.read(top, "crews", {}))
    limited = cast("tuple[CallLimitConfig, ...]", _LIMITS.read(top, "limits", {}))
    given = arguments["crews"]
    known = sorted(map(str, given)) if isinstance(given, Mapping) else []
    problems += [
        f'tools."{tool.name}".owner = "{tool.owner}": no such crew; known: {", ".join(known)}; a '
        f'tool of no crew has the owner "{SHARED}"'
        for tool in priced
        if tool.owner not in {SHARED, *known}
    ]
    if not problems:
        problems += _limit_problems(limited, priced, owned)
    if problems:
        raise ConfigurationError("\n".join(f"{WHERE}: {problem}" for problem in problems))
    keys = unique_keys(
        (place := f"{WHERE}: crews.{crew.name}.keys", parse_keys(crew.keys, crew.name, place))
        for crew in owned
    )
    return Policy(
        aud,
        keys,
        tuple(crew_policy(crew) for crew in owned),
        priced,
        limits=tuple(each.limit for each in limited),
    )


def _limit_problems(
    limited: Sequence[CallLimitConfig], tools: Sequence[ToolPolicy], crews: Sequence[CrewConfig]
) -> Iterator[str]:
    yield from mistakes_of(limited, tools, crews, where="limits")
    for each in limited:
        if each.concurrent is not None:
            yield (
                f"limits.{each.name}.concurrent: a verifier does not know when a call ends; limit "
                "`calls` instead"
            )


def _plain(value: object) -> object:
    """Return mappings as dicts and tuples as lists, as if they had been read from a file."""
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _tools(section: TOMLTableReader | None) -> tuple[ToolPolicy, ...]:
    if section is None:
        return ()
    tools = []
    for name in section.unread():
        if not is_tool_name(name):
            section.problem(f"the name {name!r}: expected {values.TOOL_NAME.expected}")
        price, owner = section.optional(name, _TOOL, (0, SHARED))
        tools.append(ToolPolicy(name, price, owner))
    if len(tools) > limits.tools_max:
        section.problem(f"{len(tools)} tools; at most {limits.tools_max} are possible")
    return tuple(tools)
