"""Sends records as syslog messages (RFC 5424), over UDP, TCP or a unix datagram socket.

The message is the audit line with the member `uid` in front. Over UDP (RFC 5426), each message is
one datagram; over TCP (RFC 6587, section 3.4.1), a count of octets goes before each message. These
protocols have no acknowledgement: a message counts as taken once the kernel has it. So a stream
that the receiver has ended, as a restart of it does, gets no further message.
"""

import errno
import os
import select
import socket
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import trio

from crewgate import limits
from crewgate.audit.audit_entry import AuditEntry
from crewgate.config import ExportConfig
from crewgate.core.audit.records import EPOCH
from crewgate.errors import ReceiverError, ReceiverRefusedError
from crewgate.export.channel import Rejection
from crewgate.version import __version__

_FACILITY_AUDIT = 13  # "log audit" (RFC 5424, table 1)
_WARNING, _INFORMATIONAL = 4, 6  # severities (RFC 5424, table 2)
_HOSTNAME_CHARS_MAX = 255
_ORIGIN = f'[origin software="crewgate" swVersion="{__version__}"]'  # section 7.2


class SyslogChannel:
    """The messages to one receiver; `machine` is their HOSTNAME."""

    def __init__(self, receiver: ExportConfig, machine: str) -> None:
        self.name = receiver.name
        self._receiver = receiver
        plain = "".join(each if "!" <= each <= "~" else "_" for each in machine)
        self._hostname = plain[:_HOSTNAME_CHARS_MAX] or "-"
        self._socket: trio.socket.SocketType | None = None
        self._is_stream = receiver.url is not None and receiver.url.scheme == "tcp"
        self._failures = 0  # of connections; the next one tries the next address of the name

    def wants(self, entry: AuditEntry) -> bool:  # noqa: ARG002 - as `Channel` has it
        """Return True: each record is a message."""
        return True

    async def send(self, entries: Sequence[AuditEntry]) -> Rejection:
        """See `Channel`."""
        messages = [self.message(entry) for entry in entries]
        try:
            with trio.fail_after(limits.receiver_request_seconds):
                if self._socket is not None and self._is_stream and _is_ended(self._socket):
                    await self.close()
                if self._socket is None:
                    self._socket = await self._connected()
                await self._send(self._socket, messages)
        except OSError as error:
            await self.close()
            self._failures += 1
            if error.errno == errno.EMSGSIZE:
                raise ReceiverRefusedError("a message is larger than one datagram") from error
            raise ReceiverError(error.strerror or str(error)) from error
        except trio.TooSlowError as error:
            await self.close()
            self._failures += 1
            seconds = limits.receiver_request_seconds
            raise ReceiverError(f"it did not take the messages within {seconds:g} s") from error
        return Rejection()

    async def close(self) -> None:
        """See `Channel`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def message(self, entry: AuditEntry) -> bytes:
        """Return the message of an entry: header, structured data `origin`, and JSON in ASCII."""
        severity = _WARNING if entry.is_warning else _INFORMATIONAL
        moment = EPOCH + timedelta(microseconds=entry.time_ns // 1000)
        time = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        head = (
            f"<{8 * _FACILITY_AUDIT + severity}>1 {time} {self._hostname} crewgate - "
            f"{_message_id(entry.kind)} {_ORIGIN} "
        )
        return b'%b{"uid":%b,%b' % (
            head.encode("ascii"),
            msgspec.json.encode(entry.uid),
            entry.line[1:],
        )

    async def _send(self, target: trio.socket.SocketType, messages: Sequence[bytes]) -> None:
        if self._is_stream:
            data = memoryview(b"".join(b"%d %b" % (len(each), each) for each in messages))
            while data:
                data = data[await target.send(data) :]
            return
        for each in messages:
            if len(each) > limits.syslog_datagram_bytes_max:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            await target.send(each)

    async def _connected(self) -> trio.socket.SocketType:
        url, path = self._receiver.url, self._receiver.socket
        if url is None:
            unix = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            return await _connect(unix, os.fspath(path or ""))
        kind = socket.SOCK_STREAM if self._is_stream else socket.SOCK_DGRAM
        found = await trio.socket.getaddrinfo(url.host, url.port, type=kind)
        family, _, protocol, _, address = found[self._failures % len(found)]
        return await _connect(trio.socket.socket(family, kind, protocol), address)


async def _connect(target: trio.socket.SocketType, address: object) -> trio.socket.SocketType:
    try:
        await target.connect(address)
    except BaseException:
        target.close()
        raise
    return target


def _is_ended(stream: trio.socket.SocketType) -> bool:
    """Return whether the peer has ended its direction of a stream, or the whole stream."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def _message_id(kind: str) -> str:
    """Return a MSGID: up to 32 printable characters."""
    return "".join(each for each in kind if "!" <= each <= "~")[:32] or "-"
