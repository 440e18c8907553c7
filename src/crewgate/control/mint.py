"""The gateway's issuer: signs for orchestrators that hold no key, each with a journal of its own.

Knows no transport. Every grant and every extension is in the orchestrator's journal before its
token is in anybody's hands (`issuer`). Blocks; use it in one thread at a time.
"""

import time

from crewgate import limits
from crewgate.api.office import Grant
from crewgate.api.words import IntrospectionAnswer, TokenAnswer
from crewgate.config import Config
from crewgate.core.claims import Claims
from crewgate.core.policy import Key
from crewgate.errors import IssuerError
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.orchestrator import Orchestrator
from crewgate.issuer.proof import signing_key_of
from crewgate.verifier.policy import crew_keys

_BEARER = "Bearer"
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class Mint:
    """Signs with the crews' keys that a configuration names."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._orchestrators: dict[tuple[str, str], Orchestrator] = {}

    def __repr__(self) -> str:
        return f"<Mint for {len(self._orchestrators)} orchestrators>"

    def close(self) -> None:
        """Let all journals go."""
        for orchestrator in self._orchestrators.values():
            orchestrator.close()
        self._orchestrators.clear()

    def start_run(self, crew: str, name: str, grant: Grant) -> TokenAnswer:
        """See `Office`; IssuerError, ConfigurationError."""
        agent = self._of(crew, name).start_run(
            credits=grant.credits or "",
            tools=grant.tools,
            role=grant.role,
            process_id=grant.process or None,
            why="token endpoint",
        )
        return _answer(agent.token(), agent.claims)

    def spawn(self, crew: str, name: str, parent: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        orchestrator = self._of(crew, name)
        claims, _ = self._proved(parent, crew)
        if claims.exp + limits.leeway_seconds < time.time():
            raise IssuerError("the parent's token has expired; refresh it first")
        agent = orchestrator.spawn(
            role=grant.role,
            parent=claims.execution_branch_id,
            tools=grant.tools,
            credits=grant.credits or "",
            process_id=grant.process or None,
            why="token endpoint",
        )
        return _answer(agent.token(), agent.claims, issued=_TOKEN_TYPE)

    def refresh(self, crew: str, name: str, token: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        orchestrator = self._of(crew, name)
        branch = self._proved(token, crew)[0].execution_branch_id
        fresh = orchestrator.refresh(
            branch,
            credits=grant.credits or None,
            tools=grant.tools or None,
            why="token endpoint",
        )
        return _answer(fresh, orchestrator.claims(branch))

    def read(self, token: str) -> tuple[Claims, str] | None:
        """Claims and key of a token that some crew's key signed and that has not ended."""
        try:
            claims = read_claims(token)
            section = self._config.crew(claims.crew)
            key = signing_key_of(token, crew_keys(section))
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no good (RFC 7662 §2.2)
            return None
        if key is None or not _is_valid(claims, key, section.issuer, self._config.audience):
            return None
        return claims, key.kid

    def _of(self, crew: str, name: str) -> Orchestrator:
        found = self._orchestrators.get((crew, name))
        if found is None:
            if len(self._orchestrators) >= limits.orchestrators_max:
                raise IssuerError(f"{limits.orchestrators_max} orchestrators mint here already")
            found = Orchestrator.from_config(self._config.path, crew=crew, name=name)
            self._orchestrators[crew, name] = found
        return found

    def _proved(self, token: str, crew: str) -> tuple[Claims, Key]:
        claims = read_claims(token)
        key = signing_key_of(token, crew_keys(self._config.crew(crew)))
        if claims.crew != crew or key is None:
            raise IssuerError(f"no key of crew {crew} has signed that token")
        return claims, key


def said(claims: Claims) -> IntrospectionAnswer:
    """What RFC 7662 tells of a token that is good."""
    return IntrospectionAnswer(
        active=True,
        scope=" ".join(claims.allowed_tools),
        client_id=claims.client_id,
        token_type=_BEARER,
        exp=claims.exp,
        iat=claims.iat,
        sub=claims.sub,
        aud=claims.aud if isinstance(claims.aud, str) else " ".join(claims.aud),
        iss=claims.iss,
        jti=claims.jti,
        crew=claims.crew,
        branch=claims.execution_branch_id,
        credits_micro=claims.credit_quota,
    )


def _answer(token: str, claims: Claims, *, issued: str = "") -> TokenAnswer:
    return TokenAnswer(
        access_token=token,
        token_type=_BEARER,
        expires_in=max(0, claims.exp - int(time.time())),
        scope=" ".join(claims.allowed_tools),
        branch=claims.execution_branch_id,
        grant=claims.jti,
        issued_token_type=issued,
    )


def _is_valid(claims: Claims, key: Key, issuer: str, audience: str) -> bool:
    now = time.time()
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    return (
        claims.exp > now
        and claims.iat <= now + limits.leeway_seconds
        and claims.iss == issuer
        and audience in audiences
        and key.orchestrator in {None, claims.client_id}
    )
