"""From a configuration and the key files that it names to the `Policy` that a gate judges by.

Decides whether the crews' keys can be trusted together: each a valid point, each `kid` once among
all crews. All or nothing: one bad file and there is no policy, so the one in force stays.
"""

from pathlib import Path

from crewgate import limits
from crewgate._native.signature import is_valid_point
from crewgate.config import Config, CrewConfig, CrossingConfig
from crewgate.core.cross_crew_account import ISSUER
from crewgate.core.policy.policy import CrewPolicy, Policy, ToolPolicy, VerificationKey
from crewgate.core.tokens.jwks import parse_jwks
from crewgate.errors import ConfigurationError


def key_files(config: Config) -> tuple[Path, ...]:
    """The files that a policy is made from besides the configuration itself."""
    return tuple(crew.jwks for crew in config.crews)


def load_policy(config: Config, generation: int) -> Policy:
    """The policy of `config` under `generation`; tools are numbered as in `config.tools`.

    Reads the crews' JWKS files. ConfigurationError names the file, the key, and how to mend it.
    """
    return Policy(
        audience=config.audience,
        keys=load_keys(config),
        crews=(
            *(ceilings(crew) for crew in config.crews),
            *(account(crossing, config.crew(crossing.source)) for crossing in config.crossings),
        ),
        tools=tuple(
            ToolPolicy(
                name=tool.name,
                price=tool.price,
                owner=tool.owner,
                observe=tool.observe,
                stale_open=tool.when_stale == "open",
            )
            for tool in config.tools
        ),
        generation=generation,
    )


def load_keys(config: Config) -> tuple[VerificationKey, ...]:
    """All crews' public keys, crew by crew in the order of the file."""
    keys: dict[str, tuple[VerificationKey, Path]] = {}
    for crew in config.crews:
        for key in crew_keys(crew):
            if key.kid in keys:
                raise ConfigurationError(
                    f"{crew.jwks} and {keys[key.kid][1]} both have a key {key.kid}; a kid names "
                    "one key among all crews: give one of them another"
                )
            keys[key.kid] = (key, crew.jwks)
    return tuple(key for key, _ in keys.values())


def crew_keys(crew: CrewConfig) -> tuple[VerificationKey, ...]:
    """One crew's public keys, each a point that libsodium accepts."""
    keys = parse_jwks(_read(crew), crew.name, str(crew.jwks))
    for key in keys:
        if not is_valid_point(key.public):
            raise ConfigurationError(
                f"{crew.jwks}: key {key.kid}: x is no point of the prime-order group of "
                "Ed25519, and anyone could sign for it; make a new key"
            )
    return keys


def ceilings(crew: CrewConfig) -> CrewPolicy:
    """What a crew's keys can grant at most, as the gate and the issuer see it."""
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
    )


def account(crossing: CrossingConfig, source: CrewConfig) -> CrewPolicy:
    """What calls on a certificate are charged to: to gate and ledger a crew like any other.

    No file has a key for it; who judges by certificate signs with one of its own
    (`policy/certificate_tokens`). A run is one root, for as long as its certificates last.
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
