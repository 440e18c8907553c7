"""`Verifier` turns a token and a tool's name into a `Permit` or a `Denial`, in this process.

The gate decides; a source (attached or standalone) provides the gate and credit. No event loop is
imported.

A bad token is a `Denial`, and so is a failure of the agent, the ledger or the configuration. An
exception means a mistake of the calling program, or was raised by its own `sink`.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self
from weakref import WeakSet

from crewgate._native.permit import Permit
from crewgate._native.tool_gate import with_fast_path
from crewgate.core.budget.denial_reset_time import explained
from crewgate.core.cross_crew_accounts import is_account
from crewgate.core.verdict import Denial
from crewgate.errors import AlreadySettledError
from crewgate.verifier.attached import AttachedSource
from crewgate.verifier.call_admission import CallAdmission, VerdictSource
from crewgate.verifier.dpop_proof import DPoPProof
from crewgate.verifier.loaded_gate import GateRequest, LoadedGate
from crewgate.verifier.policy_from_arguments import Price, policy_from_arguments
from crewgate.verifier.request_from_arguments import make_request
from crewgate.verifier.standalone import StandaloneSource
from crewgate.verifier.waiters import ThreadWaiter, task_waiter

DecisionCallback = Callable[[str, Permit | Denial], object]


class Verifier:
    """Decides about calls. Make it with `from_config` or `standalone`. Threads may share it.

    The verifier charges the price of a call together with the permit. `Permit.settle` can lower the
    charge once, and `Permit.release` returns the whole price.

    The verifier calls `sink`, a `DecisionCallback`, with the name of the tool and the verdict,
    before the caller gets the verdict. If `sink` raises an exception, the verifier returns the
    charge, and the caller of `decide`, `admit` or `admit_blocking` gets the exception. So a program
    that cannot record a call can refuse the call.
    """

    def __init__(self, source: VerdictSource, sink: DecisionCallback | None = None) -> None:
        self._source = source
        self._sink = sink
        _verifiers.add(self)

    @staticmethod
    def from_config(path: str | Path, *, sink: DecisionCallback | None = None) -> "Verifier":
        """Make a verifier on the table of this machine's agent, for the configuration file `path`.

        If the agent restarts, the verifier attaches again in the background. If the configuration
        changes, the verifier loads it in the background. While the verifier cannot decide, it
        refuses calls.

        Raises:
            ConfigurationError: The configuration, or a file that it names, cannot be used.
            ServiceConnectionError: The agent cannot be reached.
            TableError: The agent's table cannot be used.
        """
        return Verifier(AttachedSource(Path(path)), sink)

    @staticmethod
    def standalone(
        *,
        audience: str,
        tools: Mapping[str, Price],
        crews: Mapping[str, Mapping[str, object]],
        limits: Mapping[str, Mapping[str, object]] | None = None,
        sink: DecisionCallback | None = None,
    ) -> "StandaloneVerifier":
        """Make a verifier with a private table, for tests and single processes.

        Args:
            audience: The audience (`aud`) that tokens must have.
            tools: The price of each tool by its name, in credits as decimal text, `"0.01"`. A tool
                of one crew is `{"price": "0.01", "owner": CREW}`; every other tool is shared.
            crews: Each crew by its name: `{"issuer": …, "keys": JWKS as a dict, "tools": [PATTERN,
                …]}`. Further keys are those of a section `[crew.NAME]`, such as
                `"credits_per_branch": "2.50"` and `"depth": 2`. Without `tools`, the crew may use
                no tool. By default the longest lifetime is 900 s, the depth is 8 at most, and other
                limits do not apply.
            limits: Each limit on calls by its name, with the keys of a section `[limit.NAME]`:
                `{"per": "branch", "calls": 10, "seconds": 60}`. A verifier does not know when a
                call ends, so `concurrent` is no key here.
            sink: See `Verifier`.

        Raises:
            ConfigurationError: An argument cannot be used; the text lists every mistake.
        """
        source = StandaloneSource(policy_from_arguments(audience, tools, crews, limits or {}))
        return StandaloneVerifier(source, sink)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._source!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def audience(self) -> str:
        """The audience (`aud`) that tokens must have."""
        return self._source.judge.policy.audience

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers (`iss`) whose tokens are accepted."""
        crews = self._source.judge.policy.crews
        return tuple(crew.issuer for crew in crews if not is_account(crew.name))

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools, in the order of their numbers (`Permit.tool`)."""
        return tuple(self._source.judge.numbers)

    @with_fast_path
    def decide(
        self,
        token: str | bytes | None,
        tool: str,
        *,
        peer_certificate: bytes | None = None,
        cost_micro: int | None = None,
        proof: DPoPProof | None = None,
    ) -> Permit | Denial:
        """Return the verdict without waiting.

        If the branch's lease has too few credits, the verdict is Denial(BUDGET_UNAVAILABLE,
        retry=True), and the verifier starts a draw. If the last draw of the branch failed for
        another reason than credit, the verdict has this reason: TABLE_FULL, ORCHESTRATOR_HELD,
        BRANCH_REVOKED or BINDING_MISMATCH. A standalone verifier draws in the call itself.

        THE TLS HANDSHAKE MUST HAVE VERIFIED THE CHAIN OF `peer_certificate` AGAINST THE INTERNAL
        CA, AND AGAINST NO OTHER CA. THE HANDSHAKE MUST ALSO HAVE VERIFIED THAT THE CLIENT HOLDS THE
        KEY OF THE CERTIFICATE. The verifier cannot detect a forged certificate. With `ssl`, use
        `CERT_REQUIRED` or `CERT_OPTIONAL`, load that root alone with `load_verify_locations`, and
        pass `getpeercert(binary_form=True)`.

        Args:
            token: The compact token as the client sent it; None if the client sent none.
            tool: The tool's name.
            peer_certificate: The client's certificate (DER) of the connection over which the call
                came. A tool of another crew needs a certificate of the caller's crew. The
                certificate must be for clients, name an orchestrator and be valid now. Neither the
                certificate nor the orchestrator may be revoked. Otherwise the verdict is
                Denial(BINDING_MISMATCH), also with a good token.
                Without a token, a verifier of `from_config` decides by the certificate alone, if a
                [[crossing]] leads from the caller's crew to the tool's owner.
            cost_micro: The most that this call can cost, in micro-credits. The verifier charges
                this amount, and `Permit.settle` returns what the call did not cost. None charges
                the tool's price; if the price is a table, that is its `max`.
            proof: The DPoP proof of the request, if the token came with the scheme DPoP. A token
                that is bound to a key (`cnf.jkt`) needs one. Otherwise the verdict is
                Denial(INVALID_PROOF). Each proof is good for one request on this machine; at a
                standalone verifier, for one request in this process.

        Raises:
            ValueError: `cost_micro` is negative, or above what any call may cost. Or
                `peer_certificate` is PEM. Or the `url` of `proof` is none.
            TypeError: `cost_micro` is not an integer, or `peer_certificate` not bytes.
            ForkedError: This is a child of the process that made the standalone verifier.
        """
        return self._decide(tool, self._request(token, tool, peer_certificate, cost_micro, proof))

    async def admit(
        self,
        token: str | bytes | None,
        tool: str,
        *,
        peer_certificate: bytes | None = None,
        cost_micro: int | None = None,
        proof: DPoPProof | None = None,
    ) -> Permit | Denial:
        """Return the verdict like `decide`, but wait while a draw gets credits for the call.

        The wait is at most `[limits] credit_wait_seconds_max` (2 s). Once the agent knows that
        the ledger does not answer, no call waits.

        Raises:
            ValueError, TypeError, ForkedError: As for `decide`.
            RuntimeError: The call must wait, but runs neither under asyncio nor under Trio.
        """
        request = self._request(token, tool, peer_certificate, cost_micro, proof)
        admission = CallAdmission(self._source, request, task_waiter)
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
        proof: DPoPProof | None = None,
    ) -> Permit | Denial:
        """Return the verdict like `admit`, but block the thread during the wait.

        Raises:
            ValueError, TypeError, ForkedError: As for `decide`.
        """
        request = self._request(token, tool, peer_certificate, cost_micro, proof)
        admission = CallAdmission(self._source, request, ThreadWaiter)
        for waiter, seconds in admission.waits():
            waiter.wait(seconds)
        return self._report(tool, admission.verdict)

    def peer_revoked(self, peer_certificate: bytes) -> bool:
        """Return whether a certificate (DER), its orchestrator or its branch has been revoked.

        If so, end a long call that came over a connection with this certificate, and close the
        connection: `Permit.revoked` is about the token only.

        Raises:
            ValueError: `peer_certificate` is PEM.
            TypeError: `peer_certificate` is not bytes.
        """
        judge = self._source.judge
        found = judge.peers.find(peer_certificate)
        return found is not None and found.is_revoked(judge.table)

    def close(self) -> None:
        """Refuse every later call, and close the connection to the agent.

        After `close`, each of `decide`, `admit` and `admit_blocking` charges nothing and returns
        Denial(REVOCATION_UNAVAILABLE). Permits stay valid: you can still settle or release each
        permit once, and `Permit.revoked` still becomes True after a revocation. A second `close`
        does nothing.
        """
        self._source.close()

    def _decide(self, tool: str, request: GateRequest | Denial) -> Permit | Denial:
        if isinstance(request, Denial):
            return self._report(tool, request)
        verdict = request.ask()
        if isinstance(verdict, Denial) and verdict.retry:
            verdict = self._source.try_fund(request, verdict)
        return self._report(tool, verdict)

    def _conclude(
        self, judge: LoadedGate, token: bytes, number: int, tool: str, verdict: Permit | Denial
    ) -> Permit | Denial:
        """Return the verdict on a call that the fast path of `decide` has asked the gate about."""
        if isinstance(verdict, Denial) and verdict.retry:
            verdict = self._source.try_fund(GateRequest(judge, token, number), verdict)
        return self._report(tool, verdict)

    def _request(
        self,
        token: str | bytes | None,
        tool: str,
        peer_certificate: bytes | None,
        cost_micro: int | None,
        proof: DPoPProof | None,
    ) -> GateRequest | Denial:
        if proof is not None:
            self._source.open_proofs()
        return make_request(self._source.judge, token, tool, peer_certificate, cost_micro, proof)

    def _report(self, tool: str, verdict: Permit | Denial) -> Permit | Denial:
        if isinstance(verdict, Denial):
            verdict = explained(verdict, time.time())
        if self._sink is None:
            return verdict
        try:
            self._sink(tool, verdict)
        except BaseException:
            if isinstance(verdict, Permit):
                with suppress(AlreadySettledError):  # the sink may have settled the permit
                    verdict.release()
            raise
        return verdict


class StandaloneVerifier(Verifier):
    """A verifier with a private table, made by `Verifier.standalone`.

    The revocations of gateways do not reach this verifier. To revoke a branch, call `revoke`.
    """

    def __init__(self, source: StandaloneSource, sink: DecisionCallback | None = None) -> None:
        super().__init__(source, sink)
        self._standalone = source

    def revoke(self, branch: str, *, crew: str = "") -> None:
        """Revoke a branch and all branches below it, even if they have made no call yet.

        If the crew has used up its share of revocations, all tokens of the crew that were issued
        until now are revoked instead.

        Args:
            branch: The UUID text of the branch.
            crew: The name of the branch's crew. You need it only if there are several crews, and
                the branch has made no call yet.

        Raises:
            ServiceRefusedError: `branch` is not a UUID, there is no such crew, or the branch may
                belong to several crews.
            TableFullError: The table has no room for another revocation.
            ForkedError: This is a child of the process that made the verifier.
        """
        self._standalone.revoke(branch, crew)


_verifiers: WeakSet[Verifier] = WeakSet()


def _after_fork() -> None:
    for verifier in list(_verifiers):
        verifier._source.after_fork()  # noqa: SLF001 - this file's own class


os.register_at_fork(after_in_child=_after_fork)
