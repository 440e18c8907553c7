"""The one tree of errors, each of which knows whose fault it is.

The root is never raised. A verdict is not an error: a refused call is a `Denial`, a value.
"""


class CrewgateError(Exception):
    """The root of all errors that Crewgate raises on purpose; never raised itself."""


class ConfigurationError(CrewgateError):
    """The configuration, or a file that it names, cannot be used; the text says how to mend it."""


class TableError(CrewgateError):
    """The shared table cannot be created, mapped or trusted, or it is closed."""


class TableFullError(TableError):
    """The table has no room for another record of this kind; nothing that it holds is lost."""


class LinkError(CrewgateError):
    """The agent of this machine, or a control API, cannot be reached or broke the protocol."""


class RefusedError(CrewgateError):
    """The agent, or a control API, will not do what it was asked; the text says why."""


class IssuerError(CrewgateError):
    """No token was minted: what was asked for is malformed, unknown or not allowed."""


class ScopeError(IssuerError):
    """A grant asks for more tools or credits than its crew, its parent or its budget has."""


class BranchRevokedError(IssuerError):
    """A branch, or one above it, was revoked: it gets no further token; start or spawn another."""


class JournalError(IssuerError):
    """The orchestrator's journal cannot be read or written; nothing is minted without it."""


class JournalLockedError(JournalError):
    """Another process mints as this orchestrator."""


class ForkedError(CrewgateError):
    """A standalone verifier was asked in a child of the process that owns its table."""


class AuthorityError(CrewgateError):
    """The CA cannot do what it was asked for: keys, its database, a request that it must refuse."""


class CRLPublishError(AuthorityError):
    """Certificates are revoked, and the list that says so could not be written.

    `serials` are those that were good until then.
    """

    def __init__(self, message: str, serials: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.serials = serials


class ResponderError(CrewgateError):
    """An OCSP responder could not be reached, or answered with something that is not OCSP."""


class SupervisionError(CrewgateError):
    """An orchestrator cannot be run as was asked: its user, its door, its way to the gateway."""


class LedgerError(CrewgateError):
    """The ledger was asked for something that its protocol does not allow."""


class LedgerUnavailableError(CrewgateError):
    """The ledger's database cannot be reached, read or written now; nothing is known to be done.

    `may_pass`: it may be well later, once its server is started or its tables are made.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class LedgerReplacedError(CrewgateError):
    """The ledger is not the one, or not as far, as this machine knows: a person must decide."""


class BackupError(CrewgateError):
    """A backup cannot be made or restored: what is in the way, or what of it is damaged."""


class AuditError(CrewgateError):
    """The audit's files cannot be read, or hold what no reader of them could have written."""


class ControlError(CrewgateError):
    """A request to the control API that is refused; `status` and `slug` are of its problem."""

    def __init__(self, status: int, slug: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.slug = slug


class DemoError(CrewgateError):
    """The demo cannot be shown: a part of it did not start, or did not end."""


class ClientError(CrewgateError):
    """The client of a connection broke a protocol or a limit; only its connection suffers."""


class RequestRefusedError(ClientError):
    """A request that is malformed or over a bound; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StreamTerminatedError(CrewgateError):
    """An answer was cut in the middle, because its branch was revoked; its connection must end."""


class GossipError(ClientError):
    """A datagram or capsule that no honest member sends; it changes nothing."""


class UpstreamError(CrewgateError):
    """A tool's server could not be reached, or answered with something that is not HTTP."""


class UpstreamTimeoutError(UpstreamError):
    """A tool's server did not accept, answer or go on in time."""


class UpstreamUnavailableError(UpstreamError):
    """No server of an upstream is called for now: all have failed of late.

    `seconds` is how long that will stay so at least.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class AlreadySettledError(CrewgateError):
    """A permit was ended a second time: it had been settled, released or burned before."""
