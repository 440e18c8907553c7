"""Messages between two members over one mutual TLS connection, in frames of msgpack.

Each side says who it is, what it knows of the members and of the group's keys, and hands over what
the other lacks, capsules the newest first. Who is there was proved by the handshake, whose leaf the
first message must repeat. Deadlines and what becomes of it all are the caller's.
"""

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import trio

from crewgate import limits, openssl
from crewgate.core.gossip.anti_entropy import PeerSummary
from crewgate.core.gossip.ranges import Range
from crewgate.errors import GossipError
from crewgate.gossip.keyring import GroupKey
from crewgate.gossip.ledger_marks import SignedLedgerMark
from crewgate.gossip.member_certificates import MemberCredential
from crewgate.gossip.revocation_lists import NO_LIST, CRLVersion
from crewgate.openssl import show_certificate

VERSION = 1
_PREFIX_BYTES = 4
_CHUNK = 65_536
_CREDENTIALS_MAX = limits.gossip_page_bytes // (limits.certificate_bytes_max * 2)
# What a frame holds is bounded before it is made: four megabytes may say a million things.
_Id = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
_Line = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=limits.time_seconds_max)]
_CERTIFICATES = limits.gossip_members_max * limits.member_certificates_max
_Members = msgspec.Meta(max_length=limits.gossip_members_max + 1)


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Who speaks: `word` is its standing, `roll` fingerprints of the certificates that it has.

    `members` and `counted` are as in `QuorumFreshness`; who is `gone`, and until when, in
    `MemberDirectory`. `revoked` says which list of the revoked it has; a machine of an older
    version says nothing. `ledger` is how far its ledger is, and `yours`, in an answer, the last
    such word of the other.
    """

    version: int
    cluster: bytes
    credential: MemberCredential
    word: PeerSummary
    roll: Annotated[list[_Id], msgspec.Meta(max_length=_CERTIFICATES)]
    gone: Annotated[dict[_Id, _Time], _Members]
    members: Annotated[list[_Id], _Members]
    counted: Annotated[list[_Id], _Members]
    keys: Annotated[list[GroupKey], msgspec.Meta(max_length=limits.group_keys_max)]
    revoked: CRLVersion = NO_LIST
    ledger: SignedLedgerMark | None = None
    yours: SignedLedgerMark | None = None


class CertificateBatch(msgspec.Struct, frozen=True, tag="credentials"):
    """Certificates that the other has not got; the last page says so."""

    credentials: Annotated[list[MemberCredential], msgspec.Meta(max_length=_CREDENTIALS_MAX)]
    last: bool


class CRLMessage(msgspec.Struct, frozen=True, tag="revoked-list"):
    """The CA's list of the revoked (DER), from the member with the newer one."""

    data: Annotated[bytes, msgspec.Meta(max_length=limits.gossip_list_bytes_max)]


class LineDigests(msgspec.Struct, frozen=True, tag="digests"):
    """What is held of each line, from whoever began the conversation."""

    digests: dict[_Line, _Id]


class HeldRanges(msgspec.Struct, frozen=True, tag="held"):
    """The numbers that are held of lines that differ."""

    held: dict[_Line, tuple[Range, ...]]


class CapsuleBatch(msgspec.Struct, frozen=True, tag="capsules"):
    """Capsules that the other has not got; the last page says so."""

    raws: list[bytes]
    last: bool


class EvictionNotice(msgspec.Struct, frozen=True, tag="dismissal"):
    """In the place of a hello, to a machine that was evicted: nobody else would tell it."""


class AskNameSeen(msgspec.Struct, frozen=True, tag="ask-seen"):
    """In the place of a hello: whether the other has ever seen what a person has just named.

    `target` is the label of a kind of revocation. A machine of an older version hangs up, and one
    that does not know the kind as well.
    """

    target: Annotated[str, msgspec.Meta(max_length=limits.claim_chars_max)]
    name: Annotated[str, msgspec.Meta(max_length=limits.claim_chars_max)]
    crew: Annotated[str, msgspec.Meta(max_length=limits.claim_chars_max)]


class NameSeen(msgspec.Struct, frozen=True, tag="seen"):
    """The answer. Nothing proves it, so no more than a hint to a person may depend on it."""

    seen: bool


class EvictionError(GossipError):
    """The other side says that this machine was evicted."""


SyncMessage = (
    Hello
    | CertificateBatch
    | CRLMessage
    | LineDigests
    | HeldRanges
    | CapsuleBatch
    | EvictionNotice
    | AskNameSeen
    | NameSeen
)
W = TypeVar(
    "W", Hello, CertificateBatch, CRLMessage, LineDigests, HeldRanges, CapsuleBatch, NameSeen
)
_DECODER: msgspec.msgpack.Decoder[SyncMessage] = msgspec.msgpack.Decoder(SyncMessage)
_ENCODER = msgspec.msgpack.Encoder()


def pages(raws: Sequence[bytes]) -> Iterator[CapsuleBatch]:
    """So many frames, at least one."""
    page, size = list[bytes](), 0
    for raw in raws:
        if size + len(raw) > limits.gossip_page_bytes:
            yield CapsuleBatch(page, last=False)
            page, size = [], 0
        page.append(raw)
        size += len(raw)
    yield CapsuleBatch(page, last=True)


def credential_pages(credentials: Sequence[MemberCredential]) -> Iterator[CertificateBatch]:
    """So many frames, at least one."""
    each = _CREDENTIALS_MAX
    for at in range(0, len(credentials) - each, each):
        yield CertificateBatch(list(credentials[at : at + each]), last=False)
    yield CertificateBatch(list(credentials[(len(credentials) - 1) // each * each :]), last=True)


class SyncStream:
    """One connection; GossipError for what no member says, and when the other side has gone."""

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        self._stream = stream
        self._buffer = bytearray()

    @property
    def leaf(self) -> bytes:
        """The certificate of the other side, in DER, as the handshake has proved it."""
        return bytes(self._stream.getpeercert(binary_form=True) or b"")

    async def send(self, *words: SyncMessage) -> None:
        """Send in one piece."""
        frames = []
        for each in words:
            body = _ENCODER.encode(each)
            if len(body) > limits.gossip_frame_bytes_max:
                raise GossipError("more to say than a frame holds")
            frames += [len(body).to_bytes(_PREFIX_BYTES), body]
        try:
            await self._stream.send_all(b"".join(frames))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            openssl.forget_errors()
            raise GossipError(f"the connection has ended: {_why(error)}") from error

    async def receive(self, kind: type[W]) -> W:
        """The next message, which must be of this kind; EvictionError."""
        words = await self._receive()
        if not isinstance(words, kind):
            raise GossipError("a message out of turn")
        return words

    async def receive_first(self) -> Hello | AskNameSeen:
        """What one begins with who has come."""
        words = await self._receive()
        if not isinstance(words, Hello | AskNameSeen):
            raise GossipError("a message out of turn")
        return words

    async def _receive(self) -> SyncMessage:
        length = int.from_bytes(await self._take(_PREFIX_BYTES))
        if not 0 < length <= limits.gossip_frame_bytes_max:
            raise GossipError("a frame of no such length")
        try:
            words = _DECODER.decode(await self._take(length))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise GossipError(f"a frame that says nothing: {error}") from error
        if isinstance(words, EvictionNotice):
            raise EvictionError("it says that this machine was evicted")
        return words

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                openssl.forget_errors()
                raise GossipError(f"the connection has ended: {_why(error)}") from error
            if not data:
                raise GossipError("the connection has ended")
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _why(error: BaseException) -> str:
    """What OpenSSL has said; the rest is for nobody."""
    cause = error.__cause__
    return cause.reason or "TLS" if isinstance(cause, ssl.SSLError) else "reset"


def context(certificate: Path, key: Path, root: Path, *, is_server: bool) -> ssl.SSLContext:
    """TLS 1.3 with both sides' certificates, and nothing that outlives a handshake.

    Names in certificates are not compared with addresses: members are known by their identity.
    GossipError if a file cannot be used.
    """
    protocol = ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT
    made = ssl.SSLContext(protocol)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    if is_server:
        made.num_tickets = 0
    made.options |= ssl.OP_NO_TICKET
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        show_certificate(made, certificate, key)
    except OSError as error:
        raise GossipError(str(error)) from error
    try:
        made.load_verify_locations(root)
    except OSError as error:  # ssl.SSLError is one
        raise GossipError(f"{root}: {error.strerror or error}") from error
    return made
