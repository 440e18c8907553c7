"""Sends and receives the messages of a sync: msgpack in frames over one mutual TLS connection.

The handshake proves who the other side is; its first message must repeat the leaf certificate of
the handshake. The caller sets deadlines and handles the messages (`sync_session`).
"""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import trio

from crewgate import limits, ssl_workarounds
from crewgate.core.gossip.anti_entropy import AcceptLogSummary
from crewgate.core.gossip.interval_set import Range
from crewgate.core.terminal_text import printable
from crewgate.errors import GossipError
from crewgate.gossip.crl_negotiation import NO_LIST, CRLVersion
from crewgate.gossip.kept_checkpoints import CheckpointHead
from crewgate.gossip.keyring import GroupKey
from crewgate.gossip.ledger_marks import SignedLedgerMark
from crewgate.gossip.member_verification import SignedMemberRecord
from crewgate.ssl_workarounds import show_certificate

VERSION = 1
_PREFIX_BYTES = 4
_CHUNK = 65_536
_CREDENTIALS_MAX = limits.gossip_page_bytes // (limits.certificate_bytes_max * 2)
# These bound what the decoder makes of a frame: four megabytes can hold a million objects.
_Id = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
_Line = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=limits.time_seconds_max)]
_CERTIFICATES = limits.gossip_members_max * limits.member_certificates_max
_Members = msgspec.Meta(max_length=limits.gossip_members_max + 1)


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first message of each side: who it is, and what it knows.

    - `word`: what it says about itself.
    - `roll`: the fingerprints of the certificates that it has.
    - `gone`: the evicted members, as in `MemberCertificateStore.gone`.
    - `members`, `counted`: its view, as in `QuorumFreshness`; `members` has itself as well.
    - `revoked`: which CRL it has. A machine of an older version does not send this.
    - `ledger`: the mark of its ledger. `yours`: in an answer, the last mark of the other side.
    - `audit`: the newest checkpoint of its audit.
    """

    version: int
    cluster: bytes
    credential: SignedMemberRecord
    word: AcceptLogSummary
    roll: Annotated[list[_Id], msgspec.Meta(max_length=_CERTIFICATES)]
    gone: Annotated[dict[_Id, _Time], _Members]
    members: Annotated[list[_Id], _Members]
    counted: Annotated[list[_Id], _Members]
    keys: Annotated[list[GroupKey], msgspec.Meta(max_length=limits.group_keys_max)]
    revoked: CRLVersion = NO_LIST
    ledger: SignedLedgerMark | None = None
    yours: SignedLedgerMark | None = None
    audit: CheckpointHead | None = None


class CertificateBatch(msgspec.Struct, frozen=True, tag="credentials"):
    """Certificates that the other side lacks; the last batch says so."""

    credentials: Annotated[list[SignedMemberRecord], msgspec.Meta(max_length=_CREDENTIALS_MAX)]
    last: bool


class CRLMessage(msgspec.Struct, frozen=True, tag="revoked-list"):
    """The CA's certificate revocation list (DER), from the member with the newer one."""

    data: Annotated[bytes, msgspec.Meta(max_length=limits.gossip_list_bytes_max)]


class EpochDigests(msgspec.Struct, frozen=True, tag="digests"):
    """A digest of the capsules of each line, from the side that began the sync."""

    digests: dict[_Line, _Id]


class HeldRanges(msgspec.Struct, frozen=True, tag="held"):
    """The numbers of the capsules that one side has, in the lines that differ."""

    held: dict[_Line, tuple[Range, ...]]


class CapsuleBatch(msgspec.Struct, frozen=True, tag="capsules"):
    """Capsules that the other side lacks; the last batch says so."""

    raws: list[bytes]
    last: bool


class EvictedReply(msgspec.Struct, frozen=True, tag="dismissal"):
    """The answer to the hello of an evicted machine, which gets no other messages from members."""


class TargetExistenceQuery(msgspec.Struct, frozen=True, tag="ask-seen"):
    """Asks, instead of a hello, whether the other side has ever seen a name that a person revokes.

    `target` is the label of a kind of revocation. A machine of an older version closes the stream,
    and so does a machine that does not know the kind.
    """

    target: Annotated[str, msgspec.Meta(max_length=limits.claim_chars_max)]
    name: Annotated[str, msgspec.Meta(max_length=limits.claim_chars_max)]
    crew: Annotated[str, msgspec.Meta(max_length=limits.claim_chars_max)]


class TargetExistenceReply(msgspec.Struct, frozen=True, tag="seen"):
    """The answer to `TargetExistenceQuery`: unproven, so only a hint to a person."""

    seen: bool


class MemberQuestion(msgspec.Struct, frozen=True, tag="ask-member"):
    """Asks, instead of a hello, what the other side shows to people (`member_questions`).

    The agents know the form of `body`. A machine of an older version closes the stream.
    """

    version: Annotated[int, msgspec.Meta(ge=0)]
    body: Annotated[bytes, msgspec.Meta(max_length=limits.member_question_bytes_max)]


class MemberAnswer(msgspec.Struct, frozen=True, tag="member-answer"):
    """A page of the answer to `MemberQuestion`; `last` is the end."""

    body: Annotated[bytes, msgspec.Meta(max_length=limits.member_page_bytes_max)]
    last: bool


class MemberRefusal(msgspec.Struct, frozen=True, tag="member-refusal"):
    """The answer to a `MemberQuestion` that has none: why."""

    why: Annotated[str, msgspec.Meta(max_length=limits.health_text_chars_max)]


class PeerClosedError(GossipError):
    """The other side has closed the connection, or has lost it."""


class SelfEvictedError(GossipError):
    """The other side says that this machine is evicted."""


SyncMessage = (
    Hello
    | CertificateBatch
    | CRLMessage
    | EpochDigests
    | HeldRanges
    | CapsuleBatch
    | EvictedReply
    | TargetExistenceQuery
    | TargetExistenceReply
    | MemberQuestion
    | MemberAnswer
    | MemberRefusal
)
FirstMessage = Hello | TargetExistenceQuery | MemberQuestion
W = TypeVar("W", bound=SyncMessage)
_DECODER: msgspec.msgpack.Decoder[SyncMessage] = msgspec.msgpack.Decoder(SyncMessage)
_ENCODER = msgspec.msgpack.Encoder()


def pages(raws: Iterable[bytes]) -> Iterator[CapsuleBatch]:
    """Yield the capsules in frames, at least one; a frame is filled when the last one has left."""
    page, size = list[bytes](), 0
    for raw in raws:
        is_full = size + len(raw) > limits.gossip_page_bytes
        if is_full or len(page) >= limits.gossip_frame_capsules:
            yield CapsuleBatch(page, last=False)
            page, size = [], 0
        page.append(raw)
        size += len(raw)
    yield CapsuleBatch(page, last=True)


def credential_pages(credentials: Sequence[SignedMemberRecord]) -> Iterator[CertificateBatch]:
    """Yield the credentials in frames, at least one."""
    for at in range(0, max(1, len(credentials)), _CREDENTIALS_MAX):
        after = at + _CREDENTIALS_MAX
        yield CertificateBatch(list(credentials[at:after]), last=after >= len(credentials))


class SyncStream:
    """One connection to another member.

    Methods raise GossipError if a message is not valid, or if the connection has ended.
    """

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        self._stream = stream
        self._buffer = bytearray()

    @property
    def leaf(self) -> bytes:
        """The certificate of the other side (DER) that the handshake has proved."""
        return bytes(self._stream.getpeercert(binary_form=True) or b"")

    async def send(self, *messages: SyncMessage) -> None:
        """Send messages with one write."""
        frames = []
        for each in messages:
            body = _ENCODER.encode(each)
            if len(body) > limits.gossip_frame_bytes_max:
                raise GossipError(f"a message of {len(body)} bytes does not fit into a frame")
            frames += [len(body).to_bytes(_PREFIX_BYTES), body]
        try:
            await self._stream.send_all(b"".join(frames))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            ssl_workarounds.forget_errors()
            raise GossipError(f"the connection has ended: {_cause_of(error)}") from error

    async def receive(self, kind: type[W]) -> W:
        """Return the next message, which must be of this kind.

        Raises SelfEvictedError if the other side says that this machine is evicted.
        """
        message = await self._receive()
        if not isinstance(message, kind):
            raise GossipError(f"the peer sent {type(message).__name__} instead of {kind.__name__}")
        return message

    async def receive_page(self) -> MemberAnswer:
        """Return the next page of an answer; the GossipError has the reason of a refusal."""
        message = await self._receive()
        if isinstance(message, MemberRefusal):
            raise GossipError(f"it refuses: {printable(message.why)}")
        if not isinstance(message, MemberAnswer):
            raise GossipError(f"the peer sent {type(message).__name__} instead of an answer")
        return message

    async def receive_first(self) -> FirstMessage:
        """Return the first message of a side that has connected to this machine."""
        message = await self._receive()
        if not isinstance(message, FirstMessage):
            raise GossipError(f"the peer sent {type(message).__name__} as its first message")
        return message

    async def _receive(self) -> SyncMessage:
        length = int.from_bytes(await self._take(_PREFIX_BYTES))
        if not 0 < length <= limits.gossip_frame_bytes_max:
            raise GossipError(f"the peer sent a frame with the invalid length {length}")
        try:
            message = _DECODER.decode(await self._take(length))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise GossipError(f"the peer sent an invalid message: {error}") from error
        if isinstance(message, EvictedReply):
            raise SelfEvictedError("it says that this machine was evicted")
        return message

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                ssl_workarounds.forget_errors()
                raise PeerClosedError(f"the connection has ended: {_cause_of(error)}") from error
            if not data:
                raise PeerClosedError("the connection has ended")
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _cause_of(error: BaseException) -> str:
    """Return what OpenSSL says about an error, without internal details."""
    cause = error.__cause__
    return cause.reason or "TLS" if isinstance(cause, ssl.SSLError) else "reset"


def context(certificate: Path, key: Path, root: Path, *, is_server: bool) -> ssl.SSLContext:
    """Return a context for TLS 1.3 with certificates of both sides, and no session resumption.

    It does not compare names in certificates with addresses, since an identity in the certificate
    names the member. GossipError if a file cannot be used.
    """
    protocol = ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT
    tls_context = ssl.SSLContext(protocol)
    tls_context.minimum_version = ssl.TLSVersion.TLSv1_3
    if is_server:
        tls_context.num_tickets = 0
    tls_context.options |= ssl.OP_NO_TICKET
    tls_context.check_hostname = False
    tls_context.verify_mode = ssl.CERT_REQUIRED
    tls_context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        show_certificate(tls_context, certificate, key)
    except OSError as error:
        raise GossipError(str(error)) from error
    try:
        tls_context.load_verify_locations(root)
    except OSError as error:  # an ssl.SSLError is an OSError
        raise GossipError(f"{root}: {error.strerror or error}") from error
    return tls_context
