"""The in-process face: one call from (token, tool name) to `Permit` or `Denial`.

Decides nothing itself: the gate judges, a source (attached or standalone) brings credit. Never
raises for bad input. Knows no requests, and imports no event loop.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self
from weakref import WeakSet

from crewgate._native.permit import Permit
from crewgate.core.budget.window_reset import explained
from crewgate.core.cross_crew_account import is_account
from crewgate.core.verdict import Denial
from crewgate.verifier.admission import Admission, VerdictSource
from crewgate.verifier.attached import AttachedSource
from crewgate.verifier.inline_policy import Price, policy_from_arguments
from crewgate.verifier.loaded_policy import UNKNOWN, DecisionRequest
from crewgate.verifier.peer_certificates import PeerCertificates
from crewgate.verifier.request import CHARS, INVALID, MISSING, make_request
from crewgate.verifier.standalone import StandaloneSource
from crewgate.verifier.waiters import ThreadWaiter, task_waiter

DecisionCallback = Callable[[str, Permit | Denial], object]


class Verifier:
    """Judges calls; made by `from_config` or `standalone`. Safe to use from many threads.

    A fixed price is settled in the verdict itself; the permit's `settle` may lower it once, its
    `release` gives it back, and `with permit:` leaves it as it is. `sink` is called with every
    verdict and the tool's name; what it raises reaches the caller.
    """

    def __init__(self, source: VerdictSource, sink: DecisionCallback | None = None) -> None:
        self._source = source
        self._sink = sink
        self._peers = PeerCertificates()
        _verifiers.add(self)

    @classmethod
    def from_config(cls, path: str | Path, *, sink: DecisionCallback | None = None) -> Self:
        """Attach to the table of this machine's agent, which serves the configuration at `path`.

        ConfigurationError, LinkError or TableError if that cannot be done now. What happens later
        (the agent ends, the table is replaced, the configuration changes) is followed in the
        background; calls are refused while it must be.
        """
        return cls(AttachedSource(Path(path)), sink)

    @classmethod
    def standalone(
        cls,
        *,
        audience: str,
        tools: Mapping[str, Price],
        crews: Mapping[str, Mapping[str, object]],
        sink: DecisionCallback | None = None,
    ) -> Self:
        """A private table, for tests and single processes. ConfigurationError.

        `tools`: price in credits by name, or {"price": …, "owner": a crew}. `crews`: by name,
        {"issuer": …, "keys": JWKS as a dict, "tools": patterns}, and the ceilings of a
        configuration file ("credits_per_branch": "2.50", "depth": 2, …); one that is not given does
        not apply, except tools (none), lifetime (900 s) and depth (8).
        """
        return cls(StandaloneSource(policy_from_arguments(audience, tools, crews)), sink)

    def __repr__(self) -> str:
        return f"<Verifier {self._source!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def audience(self) -> str:
        """What tokens must be meant for."""
        return self._source.judge.policy.audience

    @property
    def issuers(self) -> tuple[str, ...]:
        """Whose tokens are accepted."""
        crews = self._source.judge.policy.crews
        return tuple(crew.issuer for crew in crews if not is_account(crew.name))

    def decide(
        self,
        token: str | bytes | None,
        tool: str,
        *,
        peer_certificate: bytes | None = None,
        cost_micro: int | None = None,
    ) -> Permit | Denial:
        """The verdict, without waiting.

        A lease that is empty is Denial(BUDGET_UNAVAILABLE, retry=True), and a draw has been
        started; a standalone verifier draws in the call itself.

        `cost_micro` is what this call costs at most, if not the tool's price (`most` where that is
        a table): it is charged, and `settle` of the permit returns what it did not cost.
        ValueError for one that no call can have.

        `peer_certificate` is the DER of the client's certificate on the connection that the call
        came over: a tool of another crew wants one of the caller's crew. THE TLS HANDSHAKE MUST
        HAVE VERIFIED ITS CHAIN AGAINST THE INTERNAL CA, AND NO OTHER, AND THAT THE CLIENT HOLDS ITS
        KEY (`ssl.CERT_REQUIRED` or `CERT_OPTIONAL`, `load_verify_locations` of that root alone,
        `getpeercert(binary_form=True)`): nothing here can tell a certificate from one that anybody
        has written. What is checked of it is that it is for clients, speaks for an orchestrator, is
        valid now, and that neither it nor its orchestrator was revoked; what fails is
        Denial(BINDING_MISMATCH), whatever the token. Without a token, an attached verifier judges
        by it alone where a [[crossing]] leads to the tool's owner.
        """
        if peer_certificate is not None or cost_micro is not None:
            return self._decide(tool, self._request(token, tool, peer_certificate, cost_micro))
        source = self._source
        policy = source.judge
        if type(token) is str:
            # Nothing that "?" stands for is base64url, so it is refused as it should be.
            token = token[:CHARS].encode("ascii", "replace")
        elif type(token) is not bytes:
            return self._report(tool, MISSING if token is None else INVALID)
        try:
            number = policy.numbers.get(tool, UNKNOWN)
        except TypeError:  # unhashable, and so no name
            number = UNKNOWN
        verdict = policy.decide(token, number)
        if type(verdict) is Denial and verdict.retry:
            verdict = source.try_fund(DecisionRequest(policy, token, number), verdict)
        if self._sink is None and type(verdict) is not Denial:
            return verdict
        return self._report(tool, verdict)

    async def admit(
        self,
        token: str | bytes | None,
        tool: str,
        *,
        peer_certificate: bytes | None = None,
        cost_micro: int | None = None,
    ) -> Permit | Denial:
        """The verdict; waits for credit. Under asyncio and Trio.

        It waits while a draw is under way, at most `[limits] credit_wait_seconds_max` (2 s), and
        not at all while the ledger does not answer. Of the others holds what `decide` says.
        """
        request = self._request(token, tool, peer_certificate, cost_micro)
        admission = Admission(self._source, request, task_waiter)
        for waiter, seconds in admission.waits():
            await waiter.wait(seconds)
        return self._report(tool, admission.verdict)

    def admit_blocking(
        self,
        token: str | bytes | None,
        tool: str,
        *,
        peer_certificate: bytes | None = None,
        cost_micro: int | None = None,
    ) -> Permit | Denial:
        """The verdict; waits for credit as `admit` does. For threads.

        Of the others holds what `decide` says.
        """
        request = self._request(token, tool, peer_certificate, cost_micro)
        admission = Admission(self._source, request, ThreadWaiter)
        for waiter, seconds in admission.waits():
            waiter.wait(seconds)
        return self._report(tool, admission.verdict)

    def peer_revoked(self, peer_certificate: bytes) -> bool:
        """Whether a certificate (DER), or its orchestrator, has been revoked.

        A long call whose connection showed it must end then, and the connection be closed: the
        permit knows of its token only.
        """
        found = self._peers.find(peer_certificate)
        return found is not None and found.is_revoked(self._source.judge.table)

    def revoke(self, branch: str, *, crew: str = "") -> None:
        """End a branch (UUID text) and all below it, seen or unseen; standalone only.

        `crew` is needed where it is not plain whose branch is meant. RefusedError, TableFullError.
        """
        self._source.revoke(branch, crew)

    def close(self) -> None:
        """Refuse everything from now on, and let go of table, connection and thread."""
        self._source.close()

    def _decide(self, tool: str, request: DecisionRequest | Denial) -> Permit | Denial:
        if isinstance(request, Denial):
            return self._report(tool, request)
        verdict = request.ask()
        if isinstance(verdict, Denial) and verdict.retry:
            verdict = self._source.try_fund(request, verdict)
        return self._report(tool, verdict)

    def _request(
        self,
        token: str | bytes | None,
        tool: str,
        peer_certificate: bytes | None,
        cost_micro: int | None,
    ) -> DecisionRequest | Denial:
        return make_request(
            self._source.judge, self._peers, token, tool, peer_certificate, cost_micro
        )

    def _report(self, tool: str, verdict: Permit | Denial) -> Permit | Denial:
        if isinstance(verdict, Denial):
            verdict = explained(verdict, time.time())
        if self._sink is not None:
            self._sink(tool, verdict)
        return verdict


_verifiers: WeakSet[Verifier] = WeakSet()


def _after_fork() -> None:
    for verifier in list(_verifiers):
        verifier._source.after_fork()  # noqa: SLF001 - this file's own class


os.register_at_fork(after_in_child=_after_fork)
