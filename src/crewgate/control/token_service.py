"""Issues tokens for orchestrators without a signing key, with one journal for each orchestrator.

The journal has each grant and each extension before a client gets the token (`issuer`). A token
that a client presents (a parent's, or the last one of a branch) must belong to its orchestrator and
must not be revoked in the table, so a refresh never revives a branch. A decommissioned orchestrator
that returns under its name starts with new branches. Blocks; use it in one thread at a time.
"""

import time
from collections import OrderedDict

import msgspec

from crewgate import limits
from crewgate._native import token as native
from crewgate.api.backend import TokenRequest
from crewgate.api.schemas import IntrospectionResponse, TokenResponse
from crewgate.config import Config
from crewgate.control.agent_cache import AgentCache, CacheBackedGatewayClient
from crewgate.control.api_orchestrator import APIOrchestrator
from crewgate.control.orchestrator_rate_limit import OrchestratorRateLimiter
from crewgate.control.token_revocation_check import TokenRevocationCheck
from crewgate.core import problem_types
from crewgate.core.tokens.claims import Claims
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.errors import BranchRevokedError, ConfigurationError, IssuerError
from crewgate.issuer.branches.local_gateway import minter_by
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.parent_tokens import signing_key_of
from crewgate.issuer.subagent import SubAgent
from crewgate.policy.loader import crew_keys, key_files
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.file_watch import FileWatch

_BEARER = "Bearer"
_DPOP = "DPoP"
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class TokenService:
    """Signs with the crews' keys that a configuration names.

    The methods raise IssuerError and its subclasses, ControlError, ConfigurationError, and
    ServiceConnectionError while it is unknown what is revoked or spent.
    """

    def __init__(self, config: Config, cache: AgentCache, table_view: TokenRevocationCheck) -> None:
        self._config = config
        self._cache = cache
        self._table_view = table_view
        signing_keys = [crew.signing_key for crew in config.crews if crew.signing_key is not None]
        self._watch = FileWatch([*key_files(config), *signing_keys])
        self._orchestrators: OrderedDict[tuple[str, str], APIOrchestrator] = OrderedDict()
        # Its journal keeps each token.
        self._rate_limiter = OrchestratorRateLimiter("tokens")

    def close(self) -> None:
        """Close all journals."""
        for orchestrator in self._orchestrators.values():
            orchestrator.close()
        self._orchestrators.clear()

    def start_run(self, crew: str, name: str, grant: TokenRequest) -> TokenResponse:
        """See `Backend`."""
        orchestrator = self._of(crew, name)
        agent = orchestrator.start_run(
            credits=grant.credits or "",
            tools=grant.tools,
            role=grant.role,
            process_id=grant.process,
            subject=grant.subject,
            binding=grant.binding,
            seconds=grant.seconds,
            reason=grant.reason,
        )
        is_exchange = isinstance(grant.subject, ProvenSubject)
        return self._begin(orchestrator, agent, issued=_TOKEN_TYPE if is_exchange else "")

    def spawn(self, crew: str, name: str, parent: str, grant: TokenRequest) -> TokenResponse:
        """See `Backend`."""
        orchestrator = self._of(crew, name)
        claims = self._own(parent, crew, name)
        if claims.exp + limits.leeway_seconds < time.time():
            raise IssuerError("the parent's token has expired; refresh it first")
        agent = orchestrator.spawn(
            role=grant.role,
            parent=claims.execution_branch_id,
            tools=grant.tools,
            credits=grant.credits or "",
            process_id=grant.process,
            binding=grant.binding,
            seconds=grant.seconds,
            reason=grant.reason,
        )
        return self._begin(orchestrator, agent, issued=_TOKEN_TYPE)

    def refresh(self, crew: str, name: str, token: str, grant: TokenRequest) -> TokenResponse:
        """See `Backend`."""
        orchestrator = self._of(crew, name)
        claims = self._own(token, crew, name)
        # The table keeps a revocation for `revocation_seconds`, so it may have lost an older one.
        if claims.exp + limits.revocation_seconds / 2 < time.time():
            raise IssuerError("the token expired too long ago; start a new run")
        branch = claims.execution_branch_id
        fresh = orchestrator.extend(branch, grant)
        after = orchestrator.claims(branch)
        self._count(fresh, after)
        return _answer(fresh, after)

    def _begin(
        self, orchestrator: APIOrchestrator, agent: SubAgent, *, issued: str = ""
    ) -> TokenResponse:
        """Return a new branch's first token; if the watch refuses it, revoke the branch."""
        token, claims = agent.token(), agent.claims
        with on_error(orchestrator.mark_revoked, agent.branch, reason="not handed out"):
            self._count(token, claims)
        return _answer(token, claims, issued=issued)

    def _count(self, token: str, claims: Claims) -> None:
        """Have the minting watch count a new token, which may refuse it: ControlError."""
        kid = native.split(token.encode())[0]
        if not self._cache.may_mint(claims, claims.crew, kid):
            raise problem_types.TEMPORARILY_UNAVAILABLE.error(
                f"the minting watch holds {claims.client_id} back; "
                "`crewgate status` says until when"
            )

    def _of(self, crew: str, name: str) -> APIOrchestrator:
        """Return an orchestrator, with the current keys; close the least recently used one."""
        self._rate_limiter.take(crew, name)
        if self._watch.changed():
            self.close()
        found = self._orchestrators.pop((crew, name), None)
        if found is None:
            if len(self._orchestrators) >= limits.orchestrators_max:
                self._orchestrators.popitem(last=False)[1].close()
            found = self._open(crew, name)
        self._orchestrators[crew, name] = found
        return found

    def _open(self, crew: str, name: str) -> APIOrchestrator:
        try:
            section = self._config.crew(crew)
        except ConfigurationError as error:
            raise problem_types.INVALID_REQUEST.error(f"there is no crew {crew}") from error
        if section.signing_key is None:
            raise problem_types.UNAUTHORIZED_CLIENT.error(
                f"this gateway has no key that signs for crew {crew}"
            )
        try:
            minter = minter_by(self._config, crew, name)
        except IssuerError as error:  # the key is only for another orchestrator
            raise problem_types.UNAUTHORIZED_CLIENT.error(str(error)) from error
        journal = self._config.journal_of(minter.client_id)
        gateway = CacheBackedGatewayClient(self._cache, self._table_view, crew)
        commands = self._config.command_journal_of(minter.client_id)
        return APIOrchestrator(minter, journal, gateway=gateway, commands=commands)

    def _own(self, token: str, crew: str, name: str) -> Claims:
        """Return the claims of a token that belongs to this orchestrator and is not revoked."""
        claims = read_claims(token)
        key = signing_key_of(token, crew_keys(self._config.crew(crew)))
        if claims.crew != crew or key is None:
            raise IssuerError(f"no key of crew {crew} has signed that token")
        if claims.client_id != f"{crew}/{name}":
            raise IssuerError("that branch belongs to another orchestrator")
        branch = claims.execution_branch_id
        if self._table_view.is_branch_revoked(claims):
            raise BranchRevokedError(
                f"branch {branch}, or a branch above it, was revoked: it gets no further token; "
                "start or spawn another"
            )
        if self._table_view.is_dead(claims, key.kid):
            raise IssuerError(f"that token was revoked: grant {claims.jti} of branch {branch}")
        return claims


def introspection(claims: Claims, sponsor: str) -> IntrospectionResponse:
    """Return the introspection response of RFC 7662 for an active token.

    `sponsor` is who answers for its crew, or empty.
    """
    # Claims that have the same name in the response keep their values.
    fields = msgspec.structs.asdict(claims) | {
        "active": True,
        "scope": " ".join(claims.allowed_tools),
        "token_type": _type_of(claims),
        "aud": claims.aud if isinstance(claims.aud, str) else " ".join(claims.aud),
        "branch": claims.execution_branch_id,
        "credits_micro": claims.credit_quota,
        "sponsor": sponsor,
    }
    return msgspec.convert(fields, IntrospectionResponse)


def _type_of(claims: Claims) -> str:
    """Return how clients show a token (RFC 9449, section 5; RFC 8705, section 3)."""
    return _DPOP if claims.cnf is not None and claims.cnf.jkt else _BEARER


def _answer(token: str, claims: Claims, *, issued: str = "") -> TokenResponse:
    return TokenResponse(
        access_token=token,
        token_type=_type_of(claims),
        expires_in=max(0, claims.exp - int(time.time())),
        scope=" ".join(claims.allowed_tools),
        branch=claims.execution_branch_id,
        grant=claims.jti,
        issued_token_type=issued,
        subject="" if claims.sub == claims.client_id else claims.sub,
    )
