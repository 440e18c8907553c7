"""All errors that Crewgate raises on purpose, in one tree below `CrewgateError`.

A refused call is not an error: the verdict is then a `Denial`, which is a value.
"""


class CrewgateError(Exception):
    """The base class of all errors of Crewgate; Crewgate never raises it itself."""


class ConfigurationError(CrewgateError):
    """A configuration, its files or an argument cannot be used. The text says how to mend that."""


class DependencyError(CrewgateError, ImportError):
    """An installed library does not do what Crewgate relies on. The text says how to mend that."""


class TableError(CrewgateError):
    """The shared table cannot be created or mapped, is damaged, or is closed."""


class TableFullError(TableError):
    """The table has no room for another record of this kind. The records in the table stay."""


class ServiceConnectionError(CrewgateError):
    """The agent of this machine, or a control API, cannot be reached or breaks the protocol."""


class UntrustedCertificateError(ServiceConnectionError):
    """No known authority has signed the certificate of a server. The text says what to do."""


class ServiceRefusedError(CrewgateError):
    """The agent or a control API refuses a request. The text says why."""


class IssuerError(CrewgateError):
    """The issuer mints no token, because an argument or the configuration does not allow it.

    An argument is malformed, names an unknown branch, or asks for too much.
    """


class SignedTokenError(CrewgateError):
    """A signed token of an identity provider is not good. The text never repeats the token."""


class SubjectTokenError(IssuerError):
    """A token of an identity provider proves no subject. The text never repeats the token."""


class ScopeError(IssuerError):
    """The arguments ask for more tools or credits than the crew or the parent branch has left."""


class ExtensionRefusedError(IssuerError):
    """The crew's limits of extensions, or the end of a branch, allow no such further grant."""


class BranchRevokedError(IssuerError):
    """The branch, or a branch above it, is revoked and gets no further token: start another one."""


class JournalError(IssuerError):
    """The orchestrator's journal cannot be read or written, so the issuer mints nothing."""


class JournalLockedError(JournalError):
    """Another orchestrator, in this or another process, already mints with this journal."""


class ForkedError(CrewgateError):
    """A forked child process used a standalone verifier or tried to end a permit of its parent."""


class CAError(CrewgateError):
    """The CA cannot do what a caller requested, because of its keys, its database or its rules."""


class CRLPublishError(CAError):
    """The CA revoked certificates, but could not write the new CRL.

    `serials` are the serial numbers of the certificates that this call revoked.
    """

    def __init__(self, message: str, serials: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.serials = serials


class OCSPQueryError(CrewgateError):
    """An OCSP responder cannot be reached, or its response is not valid OCSP."""


class SidecarError(CrewgateError):
    """`crewgate run` cannot start or protect its command, or cannot reach the gateway for it."""


class InvalidLedgerOperationError(CrewgateError):
    """An agent sent the ledger an operation that the ledger protocol does not allow."""


class LedgerUnavailableError(CrewgateError):
    """The ledger's database cannot be reached, read or written now.

    Whether the ledger did the operation is unknown. `may_pass`: a later attempt may succeed without
    a change to this machine, for example when the database server has started.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class LedgerReplacedError(CrewgateError):
    """The ledger is another one than this machine used, or an older copy. A person must decide."""


class BackupError(CrewgateError):
    """A backup cannot be made or restored. The text names the obstacle or the damaged file."""


class AuditReadError(CrewgateError):
    """The audit files cannot be read, or have content that Crewgate cannot have written."""


class ControlError(CrewgateError):
    """The control API refuses a request; `status` and `slug` are those of the problem response."""

    def __init__(self, status: int, slug: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.slug = slug


class DemoError(CrewgateError):
    """The demo cannot go on, because one of its processes did not start or did not end."""


class PeerError(CrewgateError):
    """The peer of a connection left, or broke a protocol or a limit. Only its connection ends."""


class InvalidRequestError(PeerError):
    """A request is malformed or exceeds a limit; `status` is the HTTP status of the response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class MalformedMessageError(PeerError):
    """A JSON-RPC message cannot be read without doubt. The text does not repeat its content.

    `code` is the JSON-RPC error code of the response. `id` is the JSON text of the message's id; it
    is empty if the message has none, or if the error is in front of it.
    """

    def __init__(self, code: int, message: str, id: bytes = b"") -> None:  # noqa: A002 - its name
        super().__init__(message)
        self.code = code
        self.id = id


class StreamTerminatedError(CrewgateError):
    """A response had begun and was ended early, so the server must close the connection."""


class PinFileError(CrewgateError):
    """The file with the pinned tools of an MCP endpoint cannot be read, or is damaged."""


class UnknownIdError(CrewgateError):
    """A caller names a task, session or context that no tool gave to its branch."""


class GossipError(PeerError):
    """This machine must not use a gossip message, a certificate or a key, and has ignored it."""


class UpstreamError(CrewgateError):
    """A tool's server cannot be reached, or its response is not valid HTTP."""


class UnusableResponseError(UpstreamError):
    """A tool's server sent a response that its client must not get. The text says why.

    The text does not repeat the response, because the client may not be allowed to see it.
    """


class UpstreamTimeoutError(UpstreamError):
    """A tool's server did not accept, respond or continue in time."""


class RequestBodyTimeoutError(UpstreamTimeoutError):
    """The client did not send the rest of a request's body; that is no failure of the server."""

    def __init__(self) -> None:
        super().__init__("the client did not send the rest of the request's body in time")


class UpstreamCircuitOpenError(UpstreamError):
    """All servers of an upstream failed recently, so the gateway calls none of them for now.

    `seconds` is the shortest time until the gateway calls one again.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class LoadTestError(CrewgateError):
    """`crewgate bench` cannot load the gateway; the message says what to do."""


class UnusableKeysError(ConfigurationError):
    """The file with the keys of a bucket cannot be used: `why`, and `mend` is what to do."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(f"{why}; {mend}")
        self.why, self.mend = why, mend


class ReceiverError(CrewgateError):
    """A receiver of records or alerts did not take them; the process sends them again.

    `retry_seconds` is how long the receiver asks to wait; None if it does not say so. `mend` is
    what to do about this very cause; if it is empty, the caller knows what to do about any.
    """

    def __init__(self, message: str, retry_seconds: float | None = None, mend: str = "") -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds
        self.mend = mend

    @property
    def text_and_mend(self) -> str:
        """Return the whole sentence: what happened, and what to do."""
        return f"{self}; {self.mend}" if self.mend else str(self)


class ReceiverRefusedError(ReceiverError):
    """A receiver refuses at least one of the messages that it got, and will refuse it again."""


class ObjectExistsError(ReceiverError):
    """An archive has an object with that name already, so it did not store another one."""


class ObjectMissingError(ReceiverError):
    """An archive has no object with a name."""


class ObjectRefusedError(ReceiverError):
    """An archive does not let this machine get an object: this one, or any."""


class UnreadableObjectError(ReceiverError):
    """An object of an archive is there, and to get it again would fail for the same reason."""


class AlertOutboxError(CrewgateError):
    """The alerts that wait for their receivers cannot be read or written."""


class AlreadySettledError(CrewgateError):
    """A caller ended a permit a second time, after it had been settled, released or burned."""
