"""TLS to the gateway: both directions at once, and an end that is told from a cut."""

import os
import ssl

import pytest
import trio
from orchestrator_certificates import ONE
from trio.testing import memory_stream_pair

from crewgate.ca.authority import request_pem
from crewgate.ca.certificates import new_key
from crewgate.ca.key_files import key_pem
from crewgate.config import CAConfig, Config
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import ConfigurationError, SidecarError
from crewgate.server.tls import ClientCertificateTrust, server_context
from crewgate.sidecar.credentials import HTTP1, HTTP2, Credential, issue
from crewgate.sidecar.tls import TLSStream

Pair = tuple[TLSStream, trio.SSLStream, trio.abc.Stream]
NAME = "127.0.0.1"


@pytest.fixture
def ca(config: Config) -> CAConfig:
    assert config.ca is not None
    return config.ca


@pytest.fixture
def credential(ca: CAConfig) -> Credential:
    key = new_key()
    identity = Identity(Role.ORCHESTRATOR, "bd-1", ONE, "article")
    chain = issue(ca, identity, None, request_pem(key))
    return Credential(chain, key_pem(key), ca.root)


def served(config: Config, credential: Credential, name: str = NAME, protocol: str = HTTP1) -> Pair:
    """A client's stream, the gateway's own context at the other end, and the wire."""
    assert config.ca is not None
    listener = config.listeners[0]
    clients = ClientCertificateTrust(config.ca.root, config.ca.crl, is_required=True)
    context = server_context(listener.certificate, listener.key, clients)
    context.sslsocket_class = ssl.SSLSocket
    ours, theirs = memory_stream_pair()
    stream = TLSStream(ours, credential.contexts[protocol], name)  # type: ignore[arg-type]
    return stream, trio.SSLStream(theirs, context, server_side=True), theirs


def test_a_missing_file_of_clients_names_the_command_that_makes_it(
    config: Config, credential: Credential
) -> None:
    """The CA's certificate and the CRL come from different commands."""
    assert config.ca is not None
    ca = config.ca
    for path, command in ((ca.crl, "crewgate ca crl"), (ca.root, "crewgate ca init")):
        path.unlink()
        with pytest.raises(ConfigurationError) as raised:
            served(config, credential)
        assert str(raised.value).startswith(f"{path}: cannot use this file as the ")
        assert str(raised.value).endswith(f": No such file or directory; make it with `{command}`")


@pytest.fixture
async def pair(config: Config, credential: Credential) -> Pair:
    client, server, wire = served(config, credential)
    await both(client, server)
    return client, server, wire


async def both(client: TLSStream, server: trio.SSLStream, protocol: str = HTTP1) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.shake_hands, protocol)
        nursery.start_soon(server.do_handshake)


@pytest.mark.parametrize("protocol", [HTTP1, HTTP2])
async def test_the_certificate_and_the_protocol_are_shown(
    config: Config, credential: Credential, protocol: str
) -> None:
    """The gateway's strict context takes the certificate, and both agree on the one HTTP."""
    client, server, _ = served(config, credential, protocol=protocol)
    await both(client, server, protocol)
    assert server.selected_alpn_protocol() == protocol
    shown = server.getpeercert(binary_form=True)
    assert shown is not None
    assert bytes.fromhex(credential.serial) in shown


async def test_both_directions_at_once(pair: Pair) -> None:
    """A megabyte each way, in whatever order the tasks run."""
    client, server, _ = pair
    data = os.urandom(2**20)

    async def up() -> None:
        for at in range(0, len(data), 50_000):
            await client.send_all(data[at : at + 50_000])

    async def heard(stream: TLSStream | trio.SSLStream) -> None:
        found = b""
        while len(found) < len(data):
            more = (
                await stream.receive_some()
                if isinstance(stream, TLSStream)
                else bytes(await stream.receive_some(70_000))
            )
            assert more
            found += more
        assert found == data

    async with trio.open_nursery() as nursery:
        nursery.start_soon(up)
        nursery.start_soon(server.send_all, data)
        nursery.start_soon(heard, client)
        nursery.start_soon(heard, server)


async def test_a_goodbye_is_an_end(pair: Pair) -> None:
    """Nothing more comes, and asking again says so again."""
    client, server, _ = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.unwrap)
        assert await client.receive_some() == b""
        assert await client.receive_some() == b""
        await client.aclose()


async def test_a_cut_is_an_error(pair: Pair) -> None:
    """Without a goodbye, what came may not be all (RFC 8446, section 6.1)."""
    client, _, wire = pair
    await wire.aclose()
    with pytest.raises(SidecarError, match="the gateway closed the connection"):
        await client.receive_some()


async def test_our_goodbye_is_said(pair: Pair) -> None:
    """And none is waited for."""
    client, server, _ = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose)
        assert await server.receive_some(10) == b""


async def test_what_is_broken_is_told(pair: Pair) -> None:
    """Nonsense on the wire is an error of TLS."""
    client, _, wire = pair
    await wire.send_all(b"nonsense" * 100)
    with pytest.raises(SidecarError, match="TLS with the gateway"):
        await client.receive_some()


async def test_another_name_is_refused(config: Config, credential: Credential) -> None:
    """The gateway must prove the name that was asked for."""
    client, server, _ = served(config, credential, name="gateway.example")

    async def serve() -> None:
        with pytest.raises(trio.BrokenResourceError) as refused:
            await server.do_handshake()
        assert "alert" in str(refused.value.__cause__).lower()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(SidecarError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.shake_hands(HTTP1)


async def test_a_gateway_without_the_protocol_is_refused(
    config: Config, credential: Credential
) -> None:
    """The bytes of one HTTP would be read as the other."""
    client, server, _ = served(config, credential)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        with pytest.raises(SidecarError, match="does not speak h2"):
            await client.shake_hands(HTTP2)


async def test_no_other_authority_is_trusted(credential: Credential) -> None:
    """The CA that was named and none of the system's; the name is always verified."""
    for context in credential.contexts.values():
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) == 1
