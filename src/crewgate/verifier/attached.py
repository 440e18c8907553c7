"""Attaches an application to this machine's agent, and follows its table and its policies.

One daemon thread listens to the agent, loads new policies, and attaches again after a restart of
the agent. Verdicts never wait for that thread. Without the agent, the gate goes on as long as the
table is fresh, then refuses all calls.
"""

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

import msgspec

from crewgate import limits
from crewgate._native.permit import GateContext, Permit
from crewgate._native.presenter import Presenter
from crewgate._native.table import Table
from crewgate.config import load
from crewgate.core.policy.policy import Policy
from crewgate.core.verdict import Denial
from crewgate.errors import ConfigurationError, CrewgateError, TableError
from crewgate.ipc.attach_messages import Attached as Answer
from crewgate.ipc.embedder_attachment import EmbedderAttachment
from crewgate.leases.branch_opening import DrawResult
from crewgate.policy.certificate_token_signer import CertificateTokenSigner, LocalSigner
from crewgate.policy.loader import load_policy
from crewgate.runtime.cleanup import on_error
from crewgate.verifier.loaded_gate import DecideFunction, GateRequest, LoadedGate, judge_by
from crewgate.verifier.pending_draws import PendingDraws
from crewgate.verifier.waiters import AttachmentWaiters, DrawWaiter

_log = logging.getLogger("crewgate.verifier")


class AttachedSource:
    """A source of verdicts and credit: the agent's table, and draws through the agent."""

    judge: LoadedGate
    wait_seconds: float
    _attachment: EmbedderAttachment | None
    _answer: Answer | None
    _thread: threading.Thread | None

    def __init__(self, file: Path) -> None:
        """Attach, as `Verifier.from_config` says of the configuration `file`."""
        self._file = file
        self._table: Table | None = None
        self._superseded: WeakSet[GateContext] = WeakSet()
        self._closed = False
        self._signer = LocalSigner()
        self._load_again = 0.0
        self._failure = ""
        self._begin()
        self._attach()
        self.ensure()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "attached" if self._attachment else "detached"
        return f"<AttachedSource {self._file} {state}>"

    # Called for verdicts: nothing here waits.

    def try_fund(self, request: GateRequest, denial: Denial) -> Permit | Denial:
        """Start a draw that may turn the next denial into a permit; return the verdict for now."""
        self.ensure()
        if denial.grant is None:
            return denial
        draws = self._draws
        draws.start(denial.grant, request.price)
        return request.after_draw(denial, draws.last_refusal(denial.grant.branch_key))

    def start_draw(self, request: GateRequest, denial: Denial, waiter: DrawWaiter) -> bool:
        """Draw unless a draw is under way; its end notifies `waiter`. False if that is impossible.

        In a child after fork, the process must attach first: that notifies `waiter`, too.
        """
        self.ensure()
        if denial.grant is None:
            return False
        return self._arrival.await_with(waiter) or self._draws.start(
            denial.grant, request.price, waiter
        )

    def open_proofs(self) -> None:
        """Do nothing: the agent makes room for proofs."""

    def ensure(self) -> None:
        """Start the thread if it does not run."""
        if self._closed or (self._thread is not None and self._thread.is_alive()):
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="crewgate", daemon=True)
                with suppress(RuntimeError):  # the interpreter is shutting down
                    self._thread.start()

    # Close and fork.

    def close(self) -> None:
        """Detach and end the thread; from then on all calls are refused."""
        self._closed = True
        self._arrival.end(None)
        self.judge = self.judge.closed()
        self._closing.set()
        self._detach()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(limits.ipc_seconds_max)

    def after_fork(self) -> None:
        """In the child: give up the parent's connection, and attach again at the first call.

        Until then the inherited mapping of the table serves the child as well as the parent. Calls
        that need credit wait for the attachment as for a draw.
        """
        if self._attachment is not None:
            self._attachment.abandon()
        self._begin()
        if not self._closed:
            self.judge = self.judge.deciding_by(self._attach_first(self.judge))

    def _attach_first(self, policy: LoadedGate) -> DecideFunction:
        """Return a `decide` that starts the thread at its first call, then is replaced."""

        def decide(
            token: bytes, tool: int, *, presenter: Presenter | None = None, price: int = -1
        ) -> Permit | Denial:
            self.judge = policy
            if self._closed:  # while this call was on its way here
                self.judge = policy.closed()
            self.ensure()
            return policy.decide(token, tool, presenter=presenter, price=price)

        return decide

    def _begin(self) -> None:
        """Set up what each process has for itself: connection, thread and locks."""
        self._attachment = None
        self._answer = None
        self._draws = PendingDraws(None)
        self._thread = None
        self._arrival = AttachmentWaiters()
        self._starting = threading.Lock()
        self._closing = threading.Event()

    # The thread.

    def _run(self) -> None:
        pause = limits.attach_again_seconds_min
        while not self._closed:
            began = time.monotonic()
            try:
                self._follow(self._attachment or self._attach())
            except (CrewgateError, OSError) as error:
                if not self._closed:
                    self._log_failure(str(error))
            self._arrival.end(None)
            self._detach()
            if time.monotonic() - began > limits.attach_again_seconds_max:
                pause = limits.attach_again_seconds_min
            self._closing.wait(pause)
            pause = min(2 * pause, limits.attach_again_seconds_max)

    def _log_failure(self, why: str) -> None:
        """Log once why this process is not attached, and not again before that changes."""
        if why != self._failure:
            self._failure = why
            _log.warning(
                "the Crewgate verifier is not attached to the agent process of %s and tries again: "
                "%s",
                self._state,
                why,
            )

    def _follow(self, attachment: EmbedderAttachment) -> None:
        """Listen until the agent is gone, which raises ServiceConnectionError or TableError."""
        table = self._table
        while not self._closed and table is not None:
            self._draws.answer(attachment.listen(limits.attached_look_seconds))
            if table.retired:
                raise TableError("the agent has replaced the table")
            if table.policy_generation != self.judge.policy.generation:
                self._reload(table)

    def _reload(self, table: Table) -> None:
        """Load the new policy; the gate refuses all calls until that has succeeded."""
        if time.monotonic() < self._load_again:
            return
        try:
            self._load(table)
        except ConfigurationError as error:
            self._load_again = time.monotonic() + limits.attach_again_seconds_max
            _log.warning(
                "the Crewgate verifier refuses all calls until it can load the configuration: %s",
                error,
            )

    def _attach(self) -> EmbedderAttachment:
        self._state = state = load(self._file).state
        attachment = EmbedderAttachment.open(state, previous=self._answer)
        with on_error(attachment.close):
            table = self._table
            if table is None or table.retired or table.life != attachment.attached.life:
                self._load(Table.attach(attachment.table))
        self._answer = attachment.attached
        self._draws = PendingDraws(attachment)
        self._attachment = attachment
        self._arrival.end(DrawResult.GRANTED)
        # Somebody who has read of the loss must also read of its end.
        level = logging.WARNING if self._failure else logging.INFO
        self._failure = ""
        _log.log(level, "the Crewgate verifier is attached to the agent process of %s", state)
        return attachment

    def _detach(self) -> None:
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            attachment.close()
        self._draws.end()

    def _load(self, table: Table) -> None:
        """Use `table`, and the configuration as it is now."""
        # Read the generation first: a change while we read the files gets another one.
        generation = table.policy_generation
        config = load(self._file)
        policy = self._signer.admitted(load_policy(config, generation), config.crossings)
        old = self._table
        crossings = CertificateTokenSigner(
            self._signer, config.audience, config.crossings, time.time()
        )
        judge = judge_by(policy, table, crossings, config.identity_oids)
        if old is not None:
            self._superseded.add(self.judge.gate.holder)
        self.wait_seconds = config.limits.credit_wait_seconds_max
        self._table, self.judge = table, judge
        if self._closed:
            self.judge = judge.closed()
        self._supersede(policy, ended=old is not table)

    def _supersede(self, policy: Policy, *, ended: bool) -> None:
        """Load a last policy into the old gates: they decide no more, and drop untrusted keys.

        `ended`: they used a table that is no longer ours. Revocations do not reach it any more, so
        they are made to trust no key, and all their permits are revoked.
        """
        keys = () if ended else policy.keys
        last = msgspec.structs.replace(policy, generation=0, keys=keys)
        for holder in list(self._superseded):
            holder.load(last)
        if ended:
            self._superseded.clear()
