"""The messages between an orchestrator and the sidecar of one sub-agent; each is one JSON object.

They go over a socket pair that the orchestrator makes (SOCK_SEQPACKET), so no other process can
send or read one.

1. The orchestrator sends `StartCommand`. The sidecar answers `CommandHeld`, or `CommandRefused`.
2. The orchestrator mints a token and sends `NewToken`: the sidecar lets CMD begin. Each renewal
   sends another one.
3. If CMD asks for an extension, the sidecar sends `ExtensionRequestMessage`, and the orchestrator
   answers with `ExtensionResponseMessage` when it has decided. Several requests may wait.
4. If CMD ends, the sidecar sends `CommandEnded`. If the orchestrator sends `EndCommand`, or if the
   socket pair closes, the sidecar closes CMD's connections and ends CMD.
"""

import msgspec

from crewgate.issuer.control_api.gateway_address import GatewayAddress


class StartCommand(msgspec.Struct, frozen=True, tag="start"):
    """Make a key and a socket, and start `command` as `user`, held before its first instruction."""

    command: list[str]
    gateway: GatewayAddress
    user: str | None = None


class NewToken(msgspec.Struct, frozen=True, tag="token"):
    """Use this token from now on."""

    token: str

    def __repr__(self) -> str:
        return "<NewToken>"


class ExtensionResponseMessage(msgspec.Struct, frozen=True, tag="extension"):
    """The HTTP response to the request `id`: its status, media type and body."""

    id: int
    status: int
    media_type: str
    body: bytes


class EndCommand(msgspec.Struct, frozen=True, tag="end"):
    """End the access of CMD now, then CMD."""


class CommandHeld(msgspec.Struct, frozen=True, tag="held"):
    """CMD is the process `pid`, and waits for its token; `jkt` is the thumbprint of the key.

    `process` is the name of CMD for the claim `process_id`, as the kernel knows it.
    """

    pid: int
    process: str
    jkt: str
    socket: str


class CommandRefused(msgspec.Struct, frozen=True, tag="refused"):
    """CMD cannot be started; `reason` says why and what to do."""

    reason: str


class CommandEnded(msgspec.Struct, frozen=True, tag="ended"):
    """CMD has ended with `status`: its exit status, or 128 plus the signal that ended it."""

    status: int


class ExtensionRequestMessage(msgspec.Struct, frozen=True, tag="extension"):
    """The body of a request of CMD for an extension; the sidecar numbers the requests."""

    id: int
    body: bytes


ToSidecar = StartCommand | NewToken | ExtensionResponseMessage | EndCommand
FromSidecar = CommandHeld | CommandRefused | ExtensionRequestMessage | CommandEnded
encode = msgspec.json.Encoder(enc_hook=str).encode  # a path is its text
decode_to_sidecar = msgspec.json.Decoder(ToSidecar, dec_hook=lambda kind, value: kind(value)).decode
decode_from_sidecar = msgspec.json.Decoder(FromSidecar).decode
