"""The messages of the admin socket about pinned MCP tools; see `admin_messages`.

A name is that of a tool, or `INSTRUCTIONS` for the instructions of the server.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.mcp.pins.endpoint_pins import PinState
from crewgate.ipc.attach_messages import Id

EndpointName = Annotated[str, Meta(max_length=limits.name_chars_max)]
ItemName = Annotated[str, Meta(max_length=limits.mcp_pin_name_chars_max)]
ItemNames = Annotated[list[ItemName], Meta(max_length=limits.mcp_pin_names_in_request)]


class GetPins(msgspec.Struct, frozen=True, tag="ask-pins"):
    """A client asks for the pins of one endpoint, or of all if it is empty. Answer: `PinsPage`s."""

    id: Id
    endpoint: EndpointName = ""


class PinRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One pin; the fields are those of `endpoint_pins.Pin`."""

    endpoint: str
    name: str
    state: PinState
    digest: str
    first_seen: int
    newest: str = ""
    changed: int = 0
    approved: int = 0
    gone: int = 0


class PinsPage(msgspec.Struct, frozen=True, tag="pins-page"):
    """The agent answers `GetPins` with such pages, sorted by endpoint and name."""

    id: Id
    rows: list[PinRow]
    last: bool


class GetDefinitions(msgspec.Struct, frozen=True, tag="ask-definitions"):
    """A client asks for the two definitions of one tool. Answer: `Definitions`."""

    id: Id
    endpoint: EndpointName
    name: ItemName


class Definitions(msgspec.Struct, frozen=True, tag="definitions"):
    """The agent answers `GetDefinitions` with canonical texts (`core.mcp.pins.tool_definitions`).

    `pinned` is the definition that this machine trusts, and empty if the tool is new. `newest` is
    the one that the server showed last. A text is None if the agent has not kept it.
    """

    id: Id
    row: PinRow
    pinned: bytes | None
    newest: bytes | None


class ApprovePins(msgspec.Struct, frozen=True, tag="approve-pins"):
    """An operator approves the newest definitions of these tools, or of all tools of an endpoint.

    If `digest` is not empty, the one named tool must have a newest digest that begins with it.
    Answer: `PinsUpdated`.
    """

    id: Id
    endpoint: EndpointName
    names: ItemNames
    every: bool = False
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{0,64}$")] = ""


class ForgetPins(msgspec.Struct, frozen=True, tag="forget-pins"):
    """An operator drops the pins of these tools, or of all tools that the server no longer lists.

    Answer: `PinsUpdated`.
    """

    id: Id
    endpoint: EndpointName
    names: ItemNames
    every_gone: bool = False


class PinsUpdated(msgspec.Struct, frozen=True, tag="pins-updated"):
    """The agent answers `ApprovePins` or `ForgetPins`, once its disk has the change.

    `changed` is the number of pins that it changed. `machines` is the number of machines in the
    cluster, each of which has pins of its own.
    """

    id: Id
    changed: int
    machines: int = 1


PinRequest = GetPins | GetDefinitions | ApprovePins | ForgetPins
PinResponse = PinsPage | Definitions | PinsUpdated
