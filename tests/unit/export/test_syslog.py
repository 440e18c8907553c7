"""The syslog messages of records, over each transport."""

import re
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from audit_entries import EVENT, entry

from crewgate.config import ExportConfig, ReceiverURL
from crewgate.errors import ReceiverError, ReceiverRefusedError
from crewgate.export.syslog_channel import SyslogChannel

MESSAGE = re.compile(
    rb"<(\d+)>1 (\S+) (\S+) crewgate - (\S+) "
    rb'\[origin software="crewgate" swVersion="[^"]+"\] (\{.*\})',
    re.DOTALL,
)


def test_a_message_has_a_header_and_the_line_with_its_id() -> None:
    """Facility 13 is the log audit; a refusal is a warning."""
    channel = SyslogChannel(ExportConfig("siem", "syslog", socket=Path("/dev/log")), "gw 1é")
    good, bad = entry(), entry(verdict="deny", reason="revoked")
    for each, priority in ((good, b"110"), (bad, b"108")):
        found = MESSAGE.fullmatch(channel.message(each))
        assert found is not None
        assert found.groups()[:4] == (priority, b"2027-01-15T08:00:00.123456Z", b"gw_1_", b"call")
        document = msgspec.json.decode(found[5])
        assert document == {"uid": each.uid, **each.record}


async def test_each_datagram_is_a_message(tmp_path: Path) -> None:
    """Over UDP and over a unix socket."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(tmp_path / "log"))
        url = ReceiverURL("udp", "127.0.0.1", udp.getsockname()[1], "")
        for receiver, bound in (
            (ExportConfig("siem", "syslog", url), udp),
            (ExportConfig("siem", "syslog", socket=tmp_path / "log"), unix),
        ):
            bound.settimeout(10)
            channel = SyslogChannel(receiver, "gw-1")
            await channel.send([entry(), entry(EVENT)])
            await channel.close()
            kinds = [MESSAGE.fullmatch(bound.recv(65_536)) for _ in range(2)]
            assert [found and found[4] for found in kinds] == [b"call", b"event"]


async def test_a_stream_counts_the_octets_of_each_message() -> None:
    """RFC 6587, section 3.4.1; a receiver that has gone is connected to again."""
    streams: list[trio.SocketStream] = []

    async def keep(stream: trio.SocketStream) -> None:
        streams.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, keep, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        receiver = ExportConfig("siem", "syslog", ReceiverURL("tcp", "127.0.0.1", port, ""))
        channel = SyslogChannel(receiver, "gw-1")
        await channel.send([entry(), entry(EVENT)])
        while not streams:
            await trio.lowlevel.checkpoint()
        data = bytes(await streams[0].receive_some())
        for kind in (b"call", b"event"):
            size, _, rest = data.partition(b" ")
            found = MESSAGE.fullmatch(rest[: int(size)])
            assert found is not None
            assert found[4] == kind
            data = rest[int(size) :]
        assert data == b""
        nursery.cancel_scope.cancel()
    with suppress(ReceiverError):
        for _ in range(100):  # the kernel takes some before it knows
            await channel.send([entry()] * 100)
    with pytest.raises(ReceiverError, match="Connection refused"):
        await channel.send([entry()])


async def test_what_no_datagram_carries_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.bind(str(tmp_path / "log"))
        channel = SyslogChannel(ExportConfig("s", "syslog", socket=tmp_path / "log"), "gw-1")
        with pytest.raises(ReceiverRefusedError):
            await channel.send([entry(subject="x" * 70_000)])


async def test_a_stream_that_the_receiver_has_ended_gets_no_message() -> None:
    """The kernel would take the messages, and the receiver would never see them."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = ReceiverURL("tcp", "127.0.0.1", listener.socket.getsockname()[1], "")
    channel = SyslogChannel(ExportConfig("siem", "syslog", url), "gw-1")
    async with listener:
        for _ in range(2):
            await channel.send([entry()])
            async with await listener.accept() as stream:
                assert b"<110>1" in await stream.receive_some()
    await channel.close()


async def test_each_address_of_a_name_is_tried() -> None:
    """Many hosts have an IPv6 address at which nothing listens."""

    class TwoAddresses(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *given: object) -> list[tuple[object, ...]]:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in ("127.0.0.2", "127.0.0.1")
            ]

        async def getnameinfo(self, *given: object) -> tuple[str, str]:
            raise NotImplementedError

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    trio.socket.set_custom_hostname_resolver(TwoAddresses())
    channel = SyslogChannel(ExportConfig("s", "syslog", ReceiverURL("tcp", "h", port, "")), "gw-1")
    async with listener:
        with pytest.raises(ReceiverError, match="Connection refused"):
            await channel.send([entry()])
        await channel.send([entry()])
        await channel.close()
