"""What an orchestrator does with a branch that it has minted: tokens, extensions, its end."""

from collections.abc import Sequence
from pathlib import Path

from crewgate.core.tokens.claims import Claims, Confirmation, is_text
from crewgate.errors import IssuerError
from crewgate.issuer.branches.branch_issuer import BranchIssuer, GrantChange
from crewgate.issuer.branches.issued_branch_store import IssuedBranchStore
from crewgate.issuer.branches.local_gateway import RevocationReceipt
from crewgate.issuer.extensions.extension_decider import ExtensionDecider, ExtensionResult
from crewgate.issuer.journal.journal_entries import GrantWay
from crewgate.issuer.parameters import amount, journal_text, tool_list, whole_seconds
from crewgate.issuer.subagent import SubAgent, branch_of
from crewgate.issuer.token_files.token_files import TokenFiles


class BranchOperations:
    """The part of `Orchestrator` that is about branches which exist."""

    _way = GrantWay.LIBRARY
    _state: IssuedBranchStore
    _issuer: BranchIssuer
    _requests: ExtensionDecider
    _files: TokenFiles

    def claims(self, branch: str) -> Claims:
        """Return the newest claims of a branch (UUID text); raises the errors of `agent`."""
        with self._state.lock:
            return self._state.branches.living(branch).claims

    def token(self, branch: str) -> str:
        """Do what `SubAgent.token` does, for the branch with an id (UUID text)."""
        return self._token(branch, GrantWay.RENEWAL)

    def has_fresh_token(self, branch: str) -> bool:
        """Do what `SubAgent.has_fresh_token` does, for the branch with an id (UUID text)."""
        with self._state.lock:
            try:
                return self._state.fresh_token(branch) is not None
            except IssuerError:
                return True  # `token` raises the same error at once

    def refresh(
        self,
        agent: SubAgent | str,
        *,
        credits: str | None = None,  # noqa: A002 - the field's word
        tools: Sequence[str] | None = None,
        seconds: int | None = None,
        binding: Confirmation | None = None,
        overcommit: bool = False,
        reason: str = "",
    ) -> str:
        """Mint the next grant of a branch, and return its token: the orchestrator has decided so.

        Args:
            agent: The handle of the branch, or its UUID text.
            credits: The credits of the branch in all, also those that it has already spent; None
                keeps the present number.
            tools: The new tools, as for `start_run`; None keeps the present ones.
            seconds: Seconds by which the branch ends later; None keeps its end.
            binding: The key to which the tokens of the branch are bound from now on; None keeps the
                present one. Tokens that were minted before are good until they expire.
            overcommit, reason: As for `spawn`.

        Raises:
            BranchRevokedError: The branch, or one above it, was revoked.
            ExtensionRefusedError: The branch has ended, or the crew's limits of extensions do not
                allow this.
            ScopeError: The parent or the crew's limits do not allow these tools or credits, or
                `credits` is less than what the branch has spent and its live children hold.
            JournalError: The journal cannot be written; nothing was minted.
            IssuerError: A parameter is malformed, or the orchestrator does not know the branch.
        """
        change = GrantChange(
            quota=None if credits is None else amount(credits),
            tools=None if tools is None else tool_list(tools),
            seconds=whole_seconds(seconds),
            binding=binding,
            overcommit=overcommit,
            reason=journal_text(reason),
            way=self._way,
        )
        token = self._issuer.extend(branch_of(agent), change)
        self._files.prolong(branch_of(agent), seconds or 0)
        return token

    def request_extension(
        self,
        agent: SubAgent | str,
        *,
        more_seconds: int | None = None,
        more_credits: str = "0",
        more_tools: Sequence[str] = (),
        reason: str = "",
        way: GrantWay = GrantWay.LIBRARY,
    ) -> ExtensionResult:
        """Do what `SubAgent.request_extension` does, for a handle or an id (UUID text).

        `way` is how the request came.
        """
        branch = branch_of(agent)
        wanted = GrantChange(
            more_quota=amount(more_credits),
            more_tools=tuple(tool_list(more_tools)),
            seconds=whole_seconds(more_seconds),
            reason=journal_text(reason),
            way=way,
        )
        result = self._requests.decide(branch, wanted)
        if result.is_granted:
            self._files.prolong(branch, more_seconds or 0)
        return result

    def revoke(self, agent: SubAgent | str, *, reason: str = "") -> RevocationReceipt | None:
        """Revoke a branch (a handle, or any UUID of the crew) and all below it, on all machines.

        First the orchestrator marks the branch as revoked: the branch gets no further token, even
        if the gateway fails. Then the gateway revokes the branch, and ends the open calls and
        streams of the branch. Return the receipt of the gateway, or None without a gateway.

        Raises:
            ServiceConnectionError: The gateway cannot be reached. Call again: until then the tokens
                of the branch stay valid.
            ServiceRefusedError: The gateway refuses; the message has the reason.
            JournalError: The journal cannot be written. The branch is revoked all the same.
            IssuerError: `agent` is not a UUID.
        """
        branch = branch_of(agent)
        try:
            self.mark_revoked(branch, reason=reason)
        finally:
            # A full disk must not keep a branch alive. The missing line is an error all the same.
            receipt = self._issuer.revoke(branch, journal_text(reason))
        return receipt

    def revoke_subject(self, subject: str, *, reason: str = "") -> RevocationReceipt | None:
        """Revoke all runs of a subject, also those of other orchestrators of the crew.

        First the orchestrator marks its own runs of the subject as revoked, as `revoke` does. Then
        the gateway ends all runs of the subject in the crew. For a day, it refuses new ones. Return
        the receipt of the gateway, or None without a gateway.

        Raises:
            ServiceConnectionError, ServiceRefusedError, JournalError: As for `revoke`.
            IssuerError: A token cannot have this subject.
        """
        if not is_text(subject):
            raise IssuerError(f"subject {subject[:64]!r}: a token cannot have this subject")
        try:
            with self._state.lock:
                runs = self._state.branches.runs_of(subject)
            for run in runs:
                self.mark_revoked(run.execution_branch_id, reason=reason)
        finally:
            receipt = self._issuer.revoke_subject(subject, journal_text(reason))
        return receipt

    def mark_revoked(self, branch: str, *, reason: str = "") -> None:
        """Mint no further token for a branch that was revoked elsewhere, or for branches below it.

        Raises:
            JournalError: The journal cannot be written. The orchestrator mints no further token
                all the same.
            IssuerError: `branch` is not a UUID.
        """
        self._state.mark_revoked(branch, reason=reason)

    def write_token_file(
        self, agent: SubAgent | str, path: Path | str, *, seconds: int | None = None
    ) -> None:
        """Write the token of a branch to the file `path` (0600), and replace it at each renewal.

        The file is renewed for `seconds` from now, by default for 30 days, and longer if the branch
        gets an extension of time. Then it keeps its last token, which ends. If the orchestrator
        revokes the branch, or learns that the branch is revoked, it deletes the file. After
        `close`, the file stays as it is.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The file cannot be written, or the orchestrator does not know the branch.
        """
        self._files.add(branch_of(agent), Path(path), whole_seconds(seconds))

    def refresh_if_due(self, branch: str) -> float:
        """Do what `token` does, and write a new token into the file of the branch, if it has one.

        Return the seconds until the next renewal.
        """
        return self._files.refresh_if_due(branch)

    def _token(self, branch: str, way: GrantWay) -> str:
        with self._state.lock:
            fresh = self._state.fresh_token(branch)
        return fresh or self._issuer.renew(branch, way)
