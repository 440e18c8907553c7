"""A call without a token, on a connection that a certificate has proven: what it is judged by.

The gate judges tokens, so whoever judges by certificate signs one for it, with a key that is made
with the process, stands in no file and leaves it never: the account of the two crews, a branch for
the run, the certificate's own end. All that a gate knows of tokens then holds for certificates:
scope, ceilings, revocation, the audit's identity. Decides which account a tool's owner means;
whether the certificate is good has been decided before.
"""

import base64
import os
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple, Protocol

import msgspec
from nacl.signing import SigningKey

from crewgate import limits
from crewgate.config import CrossingConfig
from crewgate.core import cross_crew_account as naming
from crewgate.core.ids import uuid_text
from crewgate.core.policy.policy import Policy, VerificationKey
from crewgate.core.problem_types import Reason
from crewgate.core.tokens.claims import Claims, is_text
from crewgate.core.x509.identity import Identity


class CertificateHolder(Protocol):
    """Who a proven certificate speaks for; `not_after` is its end, in seconds since the epoch."""

    @property
    def identity(self) -> Identity | None:
        """Whom it names; None where there is no certificate."""

    @property
    def certificate(self) -> bytes | None:
        """Its DER, by which it is known again: nothing else tells all certificates apart."""

    @property
    def serial_text(self) -> str:
        """Its serial, in upper-case hexadecimal."""

    @property
    def not_after(self) -> int:
        """The last second of its validity."""


class SignedToken(NamedTuple):
    """What a call is judged by: a token and the account that it is for.

    Good from `since` until `until`, by the wall clock in seconds; a clock that was set back, and
    stands before, wants another.
    """

    token: bytes
    account: str
    since: float
    until: int


class LocalSigner:
    """A process's own key for all accounts. Its private half is nowhere else.

    `dated` is the latest second that anything was dated with.
    """

    def __init__(self) -> None:
        self.dated = 0
        self._key = SigningKey.generate()
        self._name = os.urandom(16).hex()

    def __repr__(self) -> str:
        return f"<LocalSigner {self._name}>"

    def admitted(self, policy: Policy, crossings: Iterable[CrossingConfig]) -> Policy:
        """The policy, under which a gate of this process trusts this key for each account."""
        public = bytes(self._key.verify_key)
        keys = (VerificationKey(self.kid(each.account), each.account, public) for each in crossings)
        return msgspec.structs.replace(policy, keys=(*policy.keys, *keys))

    def kid(self, account: str) -> str:
        """One an account, and the same over every reload, so that calls under way go on."""
        return f"{self._name}-{blake2b(account.encode(), digest_size=8).hexdigest()}"

    def sign(self, claims: Claims) -> bytes:
        """A compact JWS (RFC 7515) of the one form that gates accept."""
        self.dated = max(self.dated, claims.iat)
        header = {"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid(claims.crew)}
        parts = map(_base64url, (msgspec.json.encode(header), msgspec.json.encode(claims)))
        signing_input = b".".join(parts)
        return signing_input + b"." + _base64url(self._key.sign(signing_input).signature)


class CertificateTokens:
    """The accounts of one configuration, and what was signed for the certificates seen since.

    `now` is the second in which it was loaded. What it signs is dated later than that, and later
    than all that was signed before: its credits are to govern the run's branch, and of two tokens
    with one date the lower quota would. The leeway of tokens lets that be a little ahead.
    """

    def __init__(
        self, signer: LocalSigner, audience: str, crossings: Iterable[CrossingConfig], now: float
    ) -> None:
        self._signer = signer
        self._audience = audience
        self._by_pair = {(each.source, each.target): each for each in crossings}
        self._first = max(int(now), signer.dated) + 1
        self._signed: dict[tuple[bytes | None, str], SignedToken] = {}

    def __repr__(self) -> str:
        return f"<CertificateTokens accounts={len(self._by_pair)} signed={len(self._signed)}>"

    def find(
        self, holder: CertificateHolder, owner: str, now: float
    ) -> SignedToken | Reason | None:
        """What a call without a token of a tool that crew `owner` owns is judged by.

        None where no crossing leads there: a token is needed as ever. TOKEN_EXPIRED once the
        certificate has ended. `now` is the wall clock in seconds.
        """
        known = self._signed.get((holder.certificate, owner))
        if known is not None and known.since <= now < known.until:
            return known
        identity = holder.identity
        if identity is None:
            return None
        crossing = self._by_pair.get((identity.crew, owner))
        # No orchestrator of a longer name can be told from others: no token may name it either.
        if crossing is None or not is_text(identity.label):
            return None
        if now >= holder.not_after:
            return Reason.TOKEN_EXPIRED
        return self._sign(crossing, identity, holder, int(now))

    def _sign(
        self, crossing: CrossingConfig, identity: Identity, holder: CertificateHolder, now: int
    ) -> SignedToken:
        issued = min(max(now, self._first), now + limits.leeway_seconds - 1)
        ends = min(holder.not_after, issued + limits.certificate_life_seconds_max)
        claims = Claims(
            iss=naming.ISSUER,
            aud=self._audience,
            sub=identity.label,
            client_id=identity.label,
            iat=issued,
            exp=max(ends, issued + 1),
            jti=naming.grant_id(holder.serial_text, os.urandom(8).hex()),
            crew=crossing.account,
            process_id=uuid_text(identity.instance),
            agent_role=naming.ROLE,
            execution_branch_id=naming.run_branch(crossing.account, identity),
            allowed_tools=list(crossing.tools),
            credit_quota=crossing.credits_per_run,
            branch_path=[],
        )
        token = self._signer.sign(claims)
        signed = SignedToken(token, crossing.account, issued - limits.leeway_seconds, claims.exp)
        if len(self._signed) >= limits.crossing_tokens_max:
            del self._signed[next(iter(self._signed))]  # the oldest
        self._signed[holder.certificate, crossing.target] = signed
        return signed


NONE = CertificateTokens(LocalSigner(), "", (), 0)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
