"""Loads the gate's `Policy` from a configuration and the key files that it names.

It checks that the crews' keys can be trusted together: each is a valid point, and each `kid` occurs
once among all crews. If one file is bad there is no policy, so the active one stays.
"""

from collections.abc import Iterable
from pathlib import Path

from crewgate import limits
from crewgate._native.signature import is_valid_point
from crewgate.config import Config, CrewConfig, CrossingConfig
from crewgate.config.crew import CeilingConfig
from crewgate.config.judged_tools import judged_tools
from crewgate.config.rules import loop_rules
from crewgate.core.cross_crew_accounts import ISSUER
from crewgate.core.policy.policy import Ceiling, CrewPolicy, Policy, ToolPolicy, VerificationKey
from crewgate.core.tokens.jwks import parse_jwks
from crewgate.errors import ConfigurationError


def key_files(config: Config) -> tuple[Path, ...]:
    """Return the files that a policy is loaded from besides the configuration itself."""
    return tuple(crew.jwks for crew in config.crews)


def load_policy(config: Config, generation: int) -> Policy:
    """Return the policy of `config` as `generation`; tools are numbered by `judged_tools`.

    Reads the crews' JWKS files. Raises ConfigurationError, which names the file, the key, and what
    to do.
    """
    return Policy(
        audience=config.audience,
        keys=load_keys(config),
        crews=(
            *(crew_policy(crew) for crew in config.crews),
            *(account(crossing, config.crew(crossing.source)) for crossing in config.crossings),
        ),
        tools=tuple(
            ToolPolicy(
                name=tool.name,
                price=tool.price,
                owner=tool.owner,
                observe=tool.observe,
                stale_open=tool.stale_open,
                is_endpoint=tool.is_endpoint,
                requires_binding=tool.requires_binding,
            )
            for tool in judged_tools(config)
        ),
        generation=generation,
        loops=loop_rules(config.loops, config.rules),
        limits=tuple(each.limit for each in config.call_limits),
    )


def load_keys(config: Config) -> tuple[VerificationKey, ...]:
    """Return all crews' public keys, in the order of the configuration.

    Raises ConfigurationError if two keys have the same `kid`, or one cannot be used.
    """
    return unique_keys((str(crew.jwks), crew_keys(crew)) for crew in config.crews)


def unique_keys(
    keys_by_place: Iterable[tuple[str, tuple[VerificationKey, ...]]],
) -> tuple[VerificationKey, ...]:
    """Return the keys of all places; raise ConfigurationError if two have the same `kid`."""
    found: dict[str, tuple[VerificationKey, str]] = {}
    for place, keys in keys_by_place:
        for key in keys:
            if key.kid in found:
                raise ConfigurationError(
                    f"{place} and {found[key.kid][1]} both have a key {key.kid}; a kid names "
                    "one key among all crews: give one of them another"
                )
            found[key.kid] = (key, place)
    return tuple(key for key, _ in found.values())


def crew_keys(crew: CrewConfig) -> tuple[VerificationKey, ...]:
    """Return one crew's public keys; raise ConfigurationError if libsodium rejects one."""
    return parse_keys(_read(crew), crew.name, str(crew.jwks))


def parse_keys(jwks: bytes, crew: str, where: str) -> tuple[VerificationKey, ...]:
    """Return the public keys of a JWKS; raise ConfigurationError if libsodium rejects one."""
    keys = parse_jwks(jwks, crew, where)
    for key in keys:
        if not is_valid_point(key.public):
            raise ConfigurationError(
                f"{where}: key {key.kid}: x is not a point of the prime-order group of "
                "Ed25519, so anyone could sign for it; make a new key"
            )
    return keys


def crew_policy(crew: CrewConfig) -> CrewPolicy:
    """Return the limits of a crew's tokens, for the gate and the issuer."""
    return CrewPolicy(
        name=crew.name,
        issuer=crew.issuer,
        tools=crew.tools,
        quota_max=crew.credits_per_branch,
        hourly_max=crew.credits_per_hour,
        daily_max=crew.credits_per_day,
        live_branches_max=crew.live_branches,
        new_branches_per_minute_max=crew.new_branches_per_minute,
        live_revocations_max=crew.live_revocations,
        lifetime_seconds_max=crew.lifetime_seconds,
        depth_max=crew.depth,
        observe=crew.observe,
        requires_binding=crew.binding == "required",
        extensions_max=crew.extensions_max,
        extension_seconds_max=crew.extension_seconds_max,
        extension_micro_max=crew.extension_credits_max,
        roles={
            each.name: _ceiling(f"role {each.name} of crew {crew.name}", each)
            for each in crew.roles
        },
        orchestrators={
            client: _ceiling(f"orchestrator {client}", each)
            for each in crew.orchestrators
            for client in [f"{crew.name}/{each.name}"]
        },
    )


def _ceiling(label: str, config: CeilingConfig) -> Ceiling:
    return Ceiling(
        label=label,
        tools=config.tools,
        quota_max=config.credits_per_branch,
        lifetime_seconds_max=config.lifetime_seconds,
        depth_max=config.depth,
        requires_binding=config.binding == "required",
    )


def account(crossing: CrossingConfig, source: CrewConfig) -> CrewPolicy:
    """Return the account that calls with a certificate only are charged to.

    To gate and ledger it is a crew like any other. No file has a key for it: each process signs
    with its own (`policy/certificate_token_signer`). A run is one root branch, for as long as its
    certificates last.
    """
    return CrewPolicy(
        name=crossing.account,
        issuer=ISSUER,
        tools=crossing.tools,
        quota_max=crossing.credits_per_run,
        hourly_max=crossing.credits_per_hour,
        lifetime_seconds_max=limits.certificate_life_seconds_max,
        depth_max=0,
        observe=source.observe,
    )


def _read(crew: CrewConfig) -> bytes:
    try:
        with crew.jwks.open("rb") as stream:
            return stream.read(limits.jwks_bytes_max + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{crew.jwks}: the keys of crew {crew.name} cannot be read ({error.strerror})"
        ) from error
