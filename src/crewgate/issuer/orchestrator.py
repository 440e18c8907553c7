"""An orchestrator: it mints, renews and revokes the branches of its crew, and keeps a journal.

A child is always within its parent. A revoked branch gets no further token: the orchestrator marks
it as revoked before it asks a gateway to revoke it. A `BranchIssuer` signs.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import msgspec

from crewgate.core.tokens.claims import Confirmation, ProvenProcess
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.errors import IssuerError
from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier
from crewgate.issuer.branches.branch_issuer import BranchIssuer, BranchRequest
from crewgate.issuer.branches.branch_operations import BranchOperations
from crewgate.issuer.branches.issued_branch_store import IssuedBranchStore, open_state
from crewgate.issuer.branches.local_gateway import (
    GatewayClient,
    LocalGateway,
    minter_of,
)
from crewgate.issuer.branches.local_issuer import LocalIssuer
from crewgate.issuer.control_api.gateway_address import find_gateway_for_tokens
from crewgate.issuer.extensions.extension_decider import Decide, ExtensionDecider
from crewgate.issuer.extensions.extension_limits import ExtensionLimits
from crewgate.issuer.mint import MintedToken, Minter
from crewgate.issuer.parameters import amount, journal_text, tool_list, whole_seconds
from crewgate.issuer.processes.sub_agent_process import SubAgentProcess
from crewgate.issuer.processes.sub_agent_processes import SubAgentCommand, SubAgentProcesses
from crewgate.issuer.subagent import SubAgent, branch_of
from crewgate.issuer.token_files.token_files import TokenFiles
from crewgate.runtime.cleanup import on_error


class Orchestrator(BranchOperations):
    """Mints tokens for one crew under one name; use it as a context manager, or call `close`.

    Threads may share an orchestrator. A method can block until the disk has the journal, and until
    the gateway answers: about 5 s for each request, or 10 s with `remote_orchestrator`. In an event
    loop, use `await asyncio.to_thread(run.token)`. While the gateway does not answer, an
    orchestrator of `from_config` still mints, and logs a warning; only `revoke` raises
    ServiceConnectionError.

    Args:
        minter: Signs the tokens.
        journal: The file of the journal; it is created with mode 0600 if it is missing.
        clock: Returns wall-clock seconds since the epoch.
        decide: Decides about a request of a sub-agent for an extension, within the crew's limits.
            It gets an `ExtensionRequest`, and returns True, False or an `ExtensionDecision`. It
            runs in the thread of the request, without a lock. With None, the limits decide.
        commands: The journal of commands (`Config.command_journal_of`), whose grants count too.
        lifetime: The lifetime of each token in seconds; None is the longest that the crew allows.
        gateway: Says what branches have spent, and revokes them. With None, the orchestrator only
            compares the credits of children with those of their parent, as if nothing were spent,
            and no gateway learns that a branch is revoked.
        verifier: Verifies `subject_token` of `start_run`. With None, it is refused.

    Raises:
        IssuerError: The crew does not allow `lifetime`.
        JournalLockedError: Another orchestrator, in this or another process, uses the journal.
        JournalError: The journal is damaged, or cannot be opened.
    """

    def __init__(
        self,
        minter: Minter,
        journal: Path | str,
        *,
        clock: Callable[[], float] = time.time,
        lifetime: int | None = None,
        gateway: GatewayClient | None = None,
        decide: Decide | None = None,
        commands: Path | None = None,
        verifier: SubjectTokenVerifier | None = None,
    ) -> None:
        seconds = minter.lifetime(lifetime)
        extension_limits = ExtensionLimits(minter.crew)
        state = open_state(Path(journal), minter.client_id, clock, extension_limits, commands)
        self._set_up(state, LocalIssuer(minter, state, seconds, gateway, verifier), decide)

    def __repr__(self) -> str:
        return f"<Orchestrator {self._state.name} with {len(self._state.branches)} branches>"

    @classmethod
    def from_config(
        cls,
        path: Path | str,
        *,
        crew: str,
        name: str | None = None,
        lifetime: int | None = None,
        decide: Decide | None = None,
    ) -> Self:
        """Make the orchestrator `<crew>/<name>` from a configuration file.

        The gateway is the one of this machine, and the journal is in the state folder. Without a
        `name`, the orchestrator is the one for which the crew's key may sign, or else
        `<crew>/<crew>-1`. `lifetime` and `decide` are as for the class.

        Raises:
            ConfigurationError: The file cannot be used, or has no usable signing key of the crew.
            IssuerError: The crew does not allow `lifetime`, the key may not sign for `name`, or a
                token cannot hold `name`.
            JournalLockedError: Another orchestrator, in this or another process, has this name.
            JournalError: The journal is damaged, or cannot be opened.
        """
        config, minter = minter_of(path, crew, name)
        made = cls(
            minter,
            config.journal_of(minter.client_id),
            lifetime=lifetime,
            gateway=LocalGateway(config.state, crew),
            decide=decide,
            commands=config.command_journal_of(minter.client_id),
            verifier=SubjectTokenVerifier(config.identity_providers),
        )
        made._processes.find_gateway = partial(find_gateway_for_tokens, config, crew)
        return made

    def _set_up(
        self, state: IssuedBranchStore, issuer: BranchIssuer, decide: Decide | None
    ) -> None:
        self._state = state
        self._issuer = issuer
        self._requests = ExtensionDecider(issuer, state, decide)
        self._files = TokenFiles(state, issuer, self._token)
        self._processes = SubAgentProcesses(self)
        state.tokens.on_put = self._processes.use
        state.tokens.on_drop = self._processes.end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes of sub-agents, stop renewing token files, and close the journal.

        The branches of the processes are revoked. Other tokens stay valid until they expire.
        """
        self._processes.close()
        self._files.close()
        with self._state.lock:
            self._state.close()
        self._issuer.close()

    def start_run(  # noqa: PLR0913 - keywords
        self,
        *,
        credits: str,  # noqa: A002 - the field's word
        tools: Sequence[str],
        role: str = "orchestrator",
        subject: str | ProvenSubject | None = None,
        subject_token: str | None = None,
        process_id: str | ProvenProcess | None = None,
        binding: Confirmation | None = None,
        seconds: int | None = None,
        token_file: Path | str | None = None,
        command: Sequence[str] | SubAgentCommand | None = None,
        reason: str = "",
    ) -> SubAgent:
        """Start a run: mint a new branch without a parent.

        Args:
            credits: Credits of the run and of all branches below it, as decimal text: `"10.00"`.
            tools: Names and patterns of tools: `["search.web", "publish.*"]`.
            role: A word for what the agent does, such as `"researcher"`.
            subject: On whose behalf the run acts; by default the orchestrator itself. The text
                is unproven, so it must not begin with the name of an identity provider and a colon.
            subject_token: A token of a configured identity provider that says on whose behalf,
                instead of `subject`. The orchestrator verifies it, and this may block for seconds.
            process_id: The process that will hold the token; by default this process. The token
                states it, unless it is a `ProvenProcess`.
            binding: The key that the presenter of a token must have, such as `ProofKey.binding`.
                All tokens of the branch are bound to it.
            seconds: When the branch ends, in seconds from now, unless it gets an extension. With
                None, its tokens are renewed for as long as the crew's limits of extensions allow.
            token_file: A file (0600) in which to keep a fresh token, as `write_token_file` does.
            command: A program and its arguments. It runs behind a sidecar of its own, which adds
                the token and proofs to its requests; the program itself has no credential. The
                kernel names its process, so the token is proof of `process_id`. See
                `SubAgentProcess` for the end of the process and of the branch.
            reason: A text for the journal, which keeps the first 500 characters.

        Raises:
            ScopeError: The crew's limits do not allow these tools or credits.
            JournalError: The journal cannot be written; nothing was minted.
            SubjectTokenError: `subject_token` proves no subject; the message says why.
            ServiceConnectionError: The keys of the identity provider cannot be had now.
            IssuerError: A parameter is malformed, too many branches are live, the subject was
                revoked, the token file cannot be written, or the command cannot be started.
        """
        request = BranchRequest(
            role=role,
            tools=tool_list(tools),
            quota=amount(credits),
            process_id=process_id,
            binding=binding,
            subject=subject,
            subject_token=subject_token,
            reason=journal_text(reason),
            way=self._way,
            seconds=whole_seconds(seconds),
        )
        return self._begin(self._issuer.start_run, request, token_file, command)

    def spawn(  # noqa: PLR0913 - keywords
        self,
        *,
        role: str,
        parent: SubAgent | str,
        tools: Sequence[str],
        credits: str,  # noqa: A002 - the field's word
        process_id: str | ProvenProcess | None = None,
        binding: Confirmation | None = None,
        overcommit: bool = False,
        seconds: int | None = None,
        token_file: Path | str | None = None,
        command: Sequence[str] | SubAgentCommand | None = None,
        reason: str = "",
    ) -> SubAgent:
        """Mint a new branch below `parent`, within the parent's tools and remaining credits.

        Args:
            parent: The handle of the branch above, or its UUID text.
            overcommit: Allow children that together hold more credits than the parent has left,
                which raises ScopeError otherwise. The gateways still stop all of them at the
                parent's credits.
            role, tools, credits, process_id, binding, seconds, token_file, command, reason: As
                for `start_run`.

        Raises:
            BranchRevokedError: The parent, or a branch above it, was revoked.
            ScopeError: The parent or the crew's limits do not allow these tools or credits.
            JournalError: The journal cannot be written; nothing was minted.
            IssuerError: As for `start_run`, or the orchestrator does not know the parent.
        """
        request = BranchRequest(
            role=role,
            tools=tool_list(tools),
            quota=amount(credits),
            process_id=process_id,
            binding=binding,
            overcommit=overcommit,
            reason=journal_text(reason),
            way=self._way,
            seconds=whole_seconds(seconds),
        )
        issue = partial(self._issuer.spawn, branch_of(parent))
        return self._begin(issue, request, token_file, command)

    def agent(self, branch: str) -> SubAgent:
        """Return the handle of a branch (UUID text) that is in the journal, also after a restart.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The orchestrator does not know the branch.
        """
        return SubAgent(self, branch, self.claims(branch).agent_role)

    def process(self, agent: SubAgent | str) -> SubAgentProcess | None:
        """Return the process of a branch that was started with a `command`; None without one."""
        return self._processes.get(branch_of(agent))

    def _begin(
        self,
        issue: Callable[[BranchRequest], MintedToken],
        request: BranchRequest,
        file: Path | str | None,
        command: Sequence[str] | SubAgentCommand | None,
    ) -> SubAgent:
        if command is not None:
            return self._begin_process(issue, request, file, command)
        agent = self._agent(issue(request))
        try:
            if file is not None:
                self.write_token_file(agent, file)
        except IssuerError:
            # Nobody will ever have its token, so the branch must not hold credits of its parent.
            self.mark_revoked(agent.branch, reason="its token file could not be written")
            raise
        return agent

    def _begin_process(
        self,
        issue: Callable[[BranchRequest], MintedToken],
        request: BranchRequest,
        file: Path | str | None,
        command: Sequence[str] | SubAgentCommand,
    ) -> SubAgent:
        if request.process_id is not None or request.binding is not None or file is not None:
            raise IssuerError(
                "command: its sidecar has the process_id, the binding and the token; leave out "
                "process_id, binding and token_file"
            )
        held = self._processes.hold(command)
        bound = msgspec.structs.replace(request, process_id=held.process, binding=held.binding)
        with on_error(held.give_up):
            agent = self._agent(issue(bound))
        try:
            self._processes.begin(held, agent.branch)
        except IssuerError:
            self.mark_revoked(agent.branch, reason="its process could not begin")
            raise
        return agent

    def _agent(self, minted: MintedToken) -> SubAgent:
        return SubAgent(self, minted.claims.execution_branch_id, minted.claims.agent_role)
