"""Signs tokens: for a new root, for a child of a branch, or for the next grant of a branch.

A `Minter` signs only what gateways accept, within the crew's limits, and a child only within its
parent's tools, credits and depth. It keeps no state and reads no clock. What the children of a
parent may have *together* needs a journal, so `Orchestrator` checks that.
"""

import uuid
from collections.abc import Collection, Sequence

import jwt
import msgspec

from crewgate import limits
from crewgate._native import token as native
from crewgate.core.credits import format_credits
from crewgate.core.policy import scope
from crewgate.core.policy.policy import Ceiling, CrewPolicy
from crewgate.core.tokens.claims import (
    Actor,
    Claims,
    Confirmation,
    PathElement,
    ProvenProcess,
)
from crewgate.core.tokens.subjects import ProvenSubject, provider_in
from crewgate.errors import ExtensionRefusedError, IssuerError, ScopeError
from crewgate.issuer.parameters import check_quota, check_texts, clock_seconds, tool_list
from crewgate.issuer.signing import SigningKey

# The claims that all tokens of a branch share, beside those of the crew.
_KEPT = (
    "client_id",
    "sub",
    "process_id",
    "process_proven",
    "agent_role",
    "execution_branch_id",
    "act",
)


class MintedToken(msgspec.Struct, frozen=True):
    """A token in compact form and its claims. The token is a secret, so `repr` leaves it out."""

    token: str
    claims: Claims

    def __repr__(self) -> str:
        return f"<Minted {self.claims.execution_branch_id} until {self.claims.exp}>"


class Minter:
    """Signs for one orchestrator, `<crew>/<name>`, within the limits of its crew.

    A `quota` is in micro-credits, and times are wall-clock seconds since the epoch. A `lifetime` is
    in seconds; None is the longest that the crew allows. A method that raises has signed nothing.
    Without a `name`, the orchestrator is the one for which the key may sign, or else
    `<crew>/<crew>-1`. Of the subjects of `identity_providers` (their names), the minter takes only
    proven ones.

    Raises:
        IssuerError: The key may sign only for another orchestrator, or a token cannot hold `name`.
    """

    def __init__(
        self,
        crew: CrewPolicy,
        audience: str,
        key: SigningKey,
        name: str | None = None,
        *,
        identity_providers: Collection[str] = (),
    ) -> None:
        given = f"{crew.name}/{name}" if name else None
        client = given or key.orchestrator or f"{crew.name}/{crew.name}-1"
        if key.orchestrator not in {None, client}:
            raise IssuerError(
                f"key {key.kid} may sign only for {key.orchestrator}, not for {client}"
            )
        check_texts({"name": client})
        self.crew = crew
        self.audience = audience
        self.key = key
        self.client_id = client
        self._identity_providers = identity_providers

    def __repr__(self) -> str:
        return f"<Minter {self.client_id} with key {self.key.kid}>"

    def root(  # noqa: PLR0913 - keywords
        self,
        *,
        role: str,
        tools: Sequence[str],
        quota: int,
        process: str | ProvenProcess,
        now: float,
        subject: str | ProvenSubject | None = None,
        lifetime: int | None = None,
        binding: Confirmation | None = None,
        exp_max: int | None = None,
    ) -> MintedToken:
        """Sign the first grant of a new run, a branch without a parent, on behalf of `subject`.

        With a `binding`, all tokens of the branch are good only for a client that has this key. The
        token ends at `exp_max` at the latest, in wall-clock seconds.

        Raises:
            ScopeError: The crew's limits do not allow these tools or this quota.
            IssuerError: A parameter is malformed, or makes the token too long. Or the crew
                requires a `binding`. Or `subject` is a text that only an identity provider proves.
        """
        behalf = self._subject_text(subject)
        return self._grant(
            sub=behalf,
            act=None if behalf == self.client_id else Actor(self.client_id),
            **_process(process),
            agent_role=role,
            execution_branch_id=str(uuid.uuid4()),
            allowed_tools=tool_list(tools),
            credit_quota=quota,
            branch_path=[],
            iat=clock_seconds(now),
            exp=_end(
                clock_seconds(now), clock_seconds(now) + self.lifetime(lifetime, role), exp_max
            ),
            cnf=binding,
        )

    def child(  # noqa: PLR0913 - keywords
        self,
        parent: Claims,
        *,
        role: str,
        tools: Sequence[str],
        quota: int,
        process: str | ProvenProcess,
        now: float,
        lifetime: int | None = None,
        binding: Confirmation | None = None,
        exp_max: int | None = None,
    ) -> MintedToken:
        """Sign the first grant of a new branch below the branch whose newest claims are `parent`.

        Raises:
            ScopeError: The parent or the crew's limits do not allow these tools or this quota.
            IssuerError: As for `root`, or the parent belongs to another crew.
        """
        if parent.crew != self.crew.name:
            raise IssuerError(
                f"a branch of crew {parent.crew} cannot have children in crew {self.crew.name}"
            )
        names = tool_list(tools)
        check_within(parent, names, quota)
        above = PathElement(parent.execution_branch_id, parent.credit_quota, parent.iat)
        path = [*parent.branch_path, above]
        issued = _after(path, clock_seconds(now), clock_seconds(now))
        return self._grant(
            sub=parent.sub,
            act=None if parent.act is None else Actor(role, parent.act),
            **_process(process),
            agent_role=role,
            execution_branch_id=str(uuid.uuid4()),
            allowed_tools=names,
            credit_quota=quota,
            branch_path=path,
            iat=issued,
            exp=_end(issued, clock_seconds(now) + self.lifetime(lifetime, role), exp_max),
            cnf=binding,
        )

    def extend(
        self,
        claims: Claims,
        *,
        now: float,
        tools: Sequence[str] | None = None,
        quota: int | None = None,
        path: Sequence[PathElement] | None = None,
        lifetime: int | None = None,
        exp_max: int | None = None,
        binding: Confirmation | None = None,
    ) -> MintedToken:
        """Sign the next grant of the branch whose newest claims are `claims`.

        `path` has the ancestors of the branch with their newest quotas. If `tools`, `quota`,
        `path` or `binding` is None, the next grant has the value in `claims`.

        Raises:
            ScopeError: The crew's limits do not allow these tools or this quota.
            IssuerError: As for `root`; or the branch belongs to another crew or orchestrator; or
                this clock is behind the clock of the last grant.
        """
        if claims.crew != self.crew.name:
            raise IssuerError(f"crew {self.crew.name} cannot extend a branch of crew {claims.crew}")
        if self.key.orchestrator not in {None, claims.client_id}:
            raise IssuerError(
                f"key {self.key.kid} may sign only for {self.key.orchestrator}, and the branch is "
                f"{claims.client_id}'s"
            )
        quota = claims.credit_quota if quota is None else quota
        path = claims.branch_path if path is None else path
        seconds = clock_seconds(now)
        issued = _after(path, self._next_iat(claims, quota, seconds), seconds)
        return self._grant(
            **{name: getattr(claims, name) for name in _KEPT},
            cnf=binding or claims.cnf,
            allowed_tools=tool_list(claims.allowed_tools if tools is None else tools),
            credit_quota=quota,
            branch_path=list(path),
            iat=issued,
            exp=_end(issued, issued + self.lifetime(lifetime, claims.agent_role), exp_max),
        )

    def _subject_text(self, subject: str | ProvenSubject | None) -> str:
        """Return the `sub` of a run. Raises IssuerError for a text that imitates a proven one."""
        if isinstance(subject, ProvenSubject):
            return subject.text
        provider = provider_in(subject or "", self._identity_providers)
        if provider is not None:
            raise IssuerError(
                f"subject {subject!r:.64}: only a token of identity provider {provider} proves a "
                "subject with this prefix; pass the token, or use another subject"
            )
        return subject or self.client_id

    def _next_iat(self, claims: Claims, quota: int, now: int) -> int:
        # Gateways obey the grant with the highest iat, and at equal iat the lower quota. A changed
        # quota therefore needs an iat of its own, which may be ahead of the clock by the leeway.
        if claims.iat > now + limits.leeway_seconds:
            raise IssuerError(
                f"the last grant was issued {claims.iat - now} s ahead of this clock; set the clock"
            )
        issued = max(now, claims.iat + (quota != claims.credit_quota))
        if issued > now + limits.leeway_seconds - 1 and issued > claims.iat:
            raise IssuerError(
                "the quota of the branch was changed too often within a few seconds; try again"
            )
        return issued

    def lifetime(self, seconds: int | None, role: str = "") -> int:
        """Return the lifetime of a token in seconds; None gives the longest that is allowed.

        If the role has a shorter ceiling than the crew, its tokens get at most that one.

        Raises:
            IssuerError: The crew or orchestrator does not allow it, or it is not an integer.
        """
        ceilings = self.crew.ceilings("", self.client_id)
        strictest = min(ceilings, key=lambda each: each.lifetime_seconds_max)
        longest = min(strictest.lifetime_seconds_max, limits.token_lifetime_seconds_max)
        if seconds is not None and (type(seconds) is not int or not 1 <= seconds <= longest):
            raise IssuerError(
                f"lifetime: expected a whole number of seconds from 1 to {longest}, as "
                f"{strictest.label} allows, not {seconds!r}"
            )
        chosen = longest if seconds is None else seconds
        return min(chosen, *(c.lifetime_seconds_max for c in self.crew.ceilings(role, "")))

    def _grant(self, **members: object) -> MintedToken:
        issuer: dict[str, object] = {
            "iss": self.crew.issuer,
            "aud": self.audience,
            "client_id": self.client_id,
            "jti": str(uuid.uuid4()),
            "crew": self.crew.name,
        }
        claims = Claims(**{**issuer, **members})  # type: ignore[arg-type] # `_check` checks them
        self._check(claims)
        return MintedToken(self._sign(claims), claims)

    def _check(self, claims: Claims) -> None:
        """Refuse claims that gateways would refuse, or would count as less than they say."""
        texts = {
            "role": claims.agent_role,
            "process": claims.process_id,
            "subject": claims.sub,
            "issuer": claims.iss,
            "audience": str(claims.aud),
        }
        check_texts(texts)
        if not 1 <= len(claims.allowed_tools) <= limits.allowed_tools_max:
            raise IssuerError(f"a grant must name 1 to {limits.allowed_tools_max} tools")
        for tool in claims.allowed_tools:
            if not scope.is_pattern(tool):
                raise IssuerError(
                    f'{str(tool)[:64]!r} is neither the name of a tool, such as "search.web", nor '
                    'a pattern, such as "search.*"'
                )
        check_quota(claims.credit_quota)
        if not self.crew.permits_role(claims.agent_role):
            raise ScopeError(
                f"role {claims.agent_role!r}: {self.crew.label} lists only "
                f"{', '.join(sorted(self.crew.roles))}; choose one of these, or add a table "
                f"[crew.{self.crew.name}.role.{claims.agent_role}]"
            )
        for ceiling in self.crew.ceilings(claims.agent_role, claims.client_id):
            # In observe mode, gateways admit a token without a key, and note it.
            if ceiling.requires_binding and claims.cnf is None and not self.crew.observe:
                raise IssuerError(
                    f"{ceiling.label} requires tokens that are bound to a key: pass one, such as "
                    "binding=ProofKey.generate().binding, or give --key FILE to the command"
                )
            _check_ceiling(claims, ceiling)

    def _sign(self, claims: Claims) -> str:
        token = jwt.encode(
            msgspec.to_builtins(claims),
            self.key.private,
            algorithm="EdDSA",
            headers={"typ": "at+jwt", "kid": self.key.kid},
        )
        if len(token) > limits.token_bytes_max:
            raise IssuerError(
                f"the token has {len(token)} bytes, and at most {limits.token_bytes_max} are "
                "possible: name fewer tools, or use patterns"
            )
        try:
            native.claims(native.split(token.encode())[2])
        except native.MalformedTokenError:
            raise IssuerError(
                "gateways would refuse the form of this token: check crew, issuer, audience and "
                "tools"
            ) from None
        return token


def _check_ceiling(claims: Claims, ceiling: CrewPolicy | Ceiling) -> None:
    """Refuse claims that a crew, a role or an orchestrator does not allow."""
    outside = [tool for tool in claims.allowed_tools if not scope.within([tool], ceiling.tools)]
    if outside:
        raise ScopeError(
            f"{outside[0]!r} is outside the tools of {ceiling.label}: {', '.join(ceiling.tools)}"
        )
    if not 0 <= claims.credit_quota <= ceiling.quota_max:
        raise ScopeError(
            f"{format_credits(claims.credit_quota)} credits: a branch of {ceiling.label} may have "
            f"0 to {format_credits(ceiling.quota_max)}; ask for less, or raise credits_per_branch"
        )
    if len(claims.branch_path) > min(ceiling.depth_max, limits.depth_max):
        raise IssuerError(
            f"{len(claims.branch_path)} ancestors: a branch of {ceiling.label} may have at most "
            f"{ceiling.depth_max}"
        )


def _process(process: str | ProvenProcess) -> dict[str, object]:
    """Return the claims that name a process."""
    if isinstance(process, ProvenProcess):
        return {"process_id": process.name, "process_proven": True}
    return {"process_id": process}


def _after(path: Sequence[PathElement], at: int, now: int) -> int:
    """Return `at`, or the issue time of the newest ancestor if that is later.

    An ancestor's time may be ahead of this clock by the leeway that gateways allow.
    """
    newest = max([each.iat or 0 for each in path], default=0)
    if newest > now + limits.leeway_seconds:
        raise IssuerError(
            f"an ancestor's grant was issued {newest - now} s ahead of this clock; set the clock"
        )
    return max(at, newest)


def _end(issued: int, exp: int, exp_max: int | None) -> int:
    """Return when a token ends: at `exp`, or at `exp_max` if that is earlier."""
    if exp_max is None:
        return exp
    if exp_max <= issued:
        raise ExtensionRefusedError("the branch has ended, or ends within this second")
    return min(exp, exp_max)


def check_within(parent: Claims, tools: Sequence[str], quota: int) -> None:
    """Refuse a child with tools or credits that `parent` does not have.

    Raises:
        ScopeError: The parent does not have them.
        IssuerError: `quota` is not an integer.
    """
    check_quota(quota)
    for tool in tools:
        if not scope.within([tool], parent.allowed_tools):
            raise ScopeError(
                f"{tool!r} is outside the parent's tools: {', '.join(parent.allowed_tools)}"
            )
    if quota > parent.credit_quota:
        raise ScopeError(
            f"{format_credits(quota)} credits are more than the parent's "
            f"{format_credits(parent.credit_quota)}"
        )
