"""Signs a token for a call that has a client certificate only, so that the gate can authorize it.

The gate reads tokens. So the process signs one, with a key that it makes at its start and that
never leaves its memory. The token names the account of the two crews, a branch for the
orchestrator's run, and the end of the certificate. All checks of tokens then apply to certificates
as well: scope, ceilings, revocation and the identity in the audit. The caller has verified the
certificate before.
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
from crewgate.core import cross_crew_accounts as naming
from crewgate.core.ids import uuid_text
from crewgate.core.policy.policy import Policy, VerificationKey
from crewgate.core.reasons import Reason
from crewgate.core.tokens.claims import Claims, Confirmation, is_text
from crewgate.core.x509.identity_extension import Identity, Role


class VerifiedClientCertificate(Protocol):
    """A verified client certificate, and the identity in it."""

    @property
    def identity(self) -> Identity | None:
        """The identity that it names; None if there is no certificate."""

    @property
    def certificate(self) -> bytes | None:
        """Its DER, the key of the cache: nothing shorter tells all certificates apart."""

    @property
    def certificate_digest(self) -> bytes | None:
        """Its SHA-256 digest, to which the token is bound."""

    @property
    def serial_text(self) -> str:
        """Its serial number, in upper-case hexadecimal."""

    @property
    def not_after(self) -> int:
        """The last second of its validity, in seconds since 1970."""


class SignedToken(NamedTuple):
    """A token that the process has signed, and the account that it is for.

    It is good from `since` until `until`, by the wall clock in seconds. If the clock is set back to
    before `since`, another one has to be signed.
    """

    token: bytes
    account: str
    since: float
    until: int

    def __repr__(self) -> str:
        return f"<SignedToken of {self.account} until {self.until}>"


class LocalSigner:
    """The signing key of a process for all accounts. The private key is only in its memory.

    `dated` is the latest `iat` of all tokens that it has signed, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.dated = 0
        self._key = SigningKey.generate()
        self._name = os.urandom(16).hex()

    def admitted(self, policy: Policy, crossings: Iterable[CrossingConfig]) -> Policy:
        """Return the policy with this key added for each account, for gates of this process."""
        public = bytes(self._key.verify_key)
        keys = (VerificationKey(self.kid(each.account), each.account, public) for each in crossings)
        return msgspec.structs.replace(policy, keys=(*policy.keys, *keys))

    def kid(self, account: str) -> str:
        """Return the key id for an account; it survives reloads, so that calls under way go on."""
        return f"{self._name}-{blake2b(account.encode(), digest_size=8).hexdigest()}"

    def sign(self, claims: Claims) -> bytes:
        """Return a compact JWS (RFC 7515) in the form that the gate accepts."""
        self.dated = max(self.dated, claims.iat)
        header = {"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid(claims.crew)}
        parts = map(_base64url, (msgspec.json.encode(header), msgspec.json.encode(claims)))
        signing_input = b".".join(parts)
        return signing_input + b"." + _base64url(self._key.sign(signing_input).signature)


class CertificateTokenSigner:
    """The accounts of one configuration, and the tokens that were signed under it.

    `now` is when the configuration was loaded, in seconds. Its tokens have a later `iat` than that,
    and than all tokens signed before. Otherwise the quota of an older configuration could govern a
    run's branch, since of two tokens with the same `iat` the lower quota wins. The gate's leeway
    accepts an `iat` that is a little ahead.
    """

    def __init__(
        self, signer: LocalSigner, audience: str, crossings: Iterable[CrossingConfig], now: float
    ) -> None:
        self._signer = signer
        self._audience = audience
        self._by_pair = {(each.source, each.target): each for each in crossings}
        self._first = max(int(now), signer.dated) + 1
        self._signed: dict[tuple[bytes | None, str], SignedToken] = {}

    def find(
        self, holder: VerifiedClientCertificate, owner: str, now: float
    ) -> SignedToken | Reason | None:
        """Return a token for a call of a tool that crew `owner` owns.

        None if no crossing leads from the certificate's crew to `owner`, or the certificate is not
        an orchestrator's: then the client must send a token.

        TOKEN_EXPIRED if the certificate has expired. `now` is the wall clock in seconds.
        """
        known = self._signed.get((holder.certificate, owner))
        if known is not None and known.since <= now < known.until:
            return known
        identity, digest = holder.identity, holder.certificate_digest
        # The agent of a branch may use what the branch's token says, and not what its crew may use.
        if identity is None or digest is None or identity.role is not Role.ORCHESTRATOR:
            return None
        crossing = self._by_pair.get((identity.crew, owner))
        # A label that is too long for a claim could not be told from others, so it gets no token.
        if crossing is None or not is_text(identity.label):
            return None
        if now >= holder.not_after:
            return Reason.TOKEN_EXPIRED
        return self._sign(crossing, identity, holder, digest, int(now))

    def _sign(
        self,
        crossing: CrossingConfig,
        identity: Identity,
        holder: VerifiedClientCertificate,
        digest: bytes,
        now: int,
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
            cnf=Confirmation(x5t=_base64url(digest).decode()),
            branch_path=[],
        )
        token = self._signer.sign(claims)
        signed = SignedToken(token, crossing.account, issued - limits.leeway_seconds, claims.exp)
        if len(self._signed) >= limits.crossing_tokens_max:
            oldest = next(iter(self._signed))
            del self._signed[oldest]
        self._signed[holder.certificate, crossing.target] = signed
        return signed


NONE = CertificateTokenSigner(LocalSigner(), "", (), 0)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
