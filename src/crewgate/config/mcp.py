"""The tables [mcp.NAME]: an endpoint of the Model Context Protocol, and what its parts cost."""

import re
from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import (
    FlattenedKeys,
    Key,
    KeyOrTable,
    Scope,
    TableList,
    TableMap,
    TableSchema,
)
from crewgate.config.mcp_arguments import ARGUMENT_COMPARISON, ArgumentSchema
from crewgate.config.prices import PRICE, PriceKeys, price_table
from crewgate.config.route_keys import CORS, AllowedFields, Carriers, Owner, WhenStale
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.values import Binding, FilePath, Hosts, Mode, Name
from crewgate.core.mcp import tool_ids
from crewgate.core.mcp.arguments.argument_comparison import ArgumentComparison
from crewgate.core.mcp.methods import METHODS, Revision
from crewgate.core.mcp.pins.worker_pins import PinMode, PinPolicy, UnapprovedTools
from crewgate.core.mcp.refusals import RefusalForm
from crewgate.core.policy.policy import SHARED
from crewgate.core.pricing.sources import PlaceKind, PriceTerm
from crewgate.core.pricing.tariff import Tariff

Refusals = Annotated[
    RefusalForm,
    'Form of refusals: "mcp" as clients expect them; "result" the same, but with a tool result if '
    'a token does not allow the tool; "http" for problem documents.',
]
Revisions = Literal["both", "2026-07-28", "2025-11-25"]

_REVISIONS = {
    "both": Revision.MODERN | Revision.LEGACY,
    "2026-07-28": Revision.MODERN,
    "2025-11-25": Revision.LEGACY,
}
_PRINTABLE = re.compile("[!-~]+")
_MCP_TOOL = ValueParser(
    "a tool's name in MCP: 1 to 128 letters, digits, _, . and -",
    values.passing(values.string, tool_ids.is_tool),
)
_PROMPT = ValueParser(
    "a prompt's name: 1 to 128 characters", values.passing(values.string, tool_ids.is_prompt)
)
_METHOD = values.pattern_text('a method such as "x/search"', _PRINTABLE, limits.claim_chars_max)
_URI = values.pattern_text(
    'a URI, or a beginning of URIs such as "file:///docs/*"', _PRINTABLE, limits.mcp_uri_chars_max
)
_Methods = Annotated[tuple[str, ...], values.listed(_METHOD, limits.mcp_methods_max)]
_URIs = Annotated[tuple[str, ...], values.listed(_URI, limits.mcp_patterns_max, min_count=1)]


def _price_of_endpoint(scope: Scope) -> object:
    return scope["price"]


def _charge_of_endpoint(scope: Scope) -> object:
    return scope["charge_unfinished"]


_UNFINISHED_TEXT = (
    "Charge a call also if the server answers with a question, after which the client calls again "
    "with the answer."
)


class _EndpointPrice(PriceKeys, frozen=True):
    """The price of the parts of an endpoint that have no table of their own."""

    charge_unfinished: Annotated[bool, _UNFINISHED_TEXT] = True

    def check(self, section: TOMLTableReader) -> None:
        """Note a price of language models."""
        if isinstance(self.price, Tariff) and self.price.usage is not None:
            section.problem("usage: MCP is no language model's API; leave it out", "price")

    def build(self) -> dict[str, object]:
        """Return the highest cost of a call, and the tariff if the cost is not fixed."""
        price, charge_unfinished = self.price, self.charge_unfinished
        if isinstance(price, Tariff):
            tariff = _in_message(price, charge_unfinished=charge_unfinished)
            return {"price": price.max_cost, "tariff": tariff}
        if charge_unfinished or not price:
            return {"price": price, "tariff": None}
        tariff = Tariff(price, price, is_mcp=True, charges_unfinished=False)
        return {"price": price, "tariff": tariff}


class _PartPrice(_EndpointPrice, frozen=True):
    """The price of one tool, prompt or class of resources."""

    price: Annotated[
        int | Tariff,
        PRICE,
        "Credits that each call costs, or a table of what is paid for.",
        KeyOrTable(
            of=price_table(), default=_price_of_endpoint, absent="the `price` of the endpoint"
        ),
    ]
    charge_unfinished: Annotated[
        bool,
        _UNFINISHED_TEXT,
        Key(default=_charge_of_endpoint, absent="the `charge_unfinished` of the endpoint"),
    ] = True


def _in_message(tariff: Tariff, *, charge_unfinished: bool) -> Tariff:
    """Return the tariff with pointers that begin at the message, and not at params or result."""
    return msgspec.structs.replace(
        tariff,
        is_mcp=True,
        charges_unfinished=charge_unfinished,
        request=tuple(_below("params", term) for term in tariff.request),
        response=tuple(_below("result", term) for term in tariff.response),
    )


def _below(member: str, term: PriceTerm) -> PriceTerm:
    if term.place_kind is not PlaceKind.POINTER or term.place[:1] == (member,):
        return term
    return msgspec.structs.replace(term, place=(member, *term.place))


class MCPToolConfig(msgspec.Struct, frozen=True):
    """A tool of an endpoint; `price` and `tariff` as in `ToolConfig`."""

    name: str
    price: Annotated[int, FlattenedKeys(of=TableSchema(_PartPrice))]
    comparisons: Annotated[
        tuple[ArgumentComparison, ...],
        "A rule on one argument; a call must keep all rules of its tool.",
        TableList(of=ARGUMENT_COMPARISON, name="argument", max_count=limits.argument_rules_max),
    ] = ()
    schema: Annotated[
        ArgumentSchema | None,
        "JSON Schema that the object with all arguments must fit.",
        Key(absent="any arguments"),
    ] = None
    schema_file: Annotated[
        FilePath | None, "File with that JSON Schema.", Key(absent="any arguments")
    ] = None
    tariff: Tariff | None = None

    def check(self, section: TOMLTableReader) -> None:
        """Note a schema that is given twice."""
        if self.schema is not None and self.schema_file is not None:
            section.problem("expected schema or schema_file, and not both")


class MCPPromptConfig(msgspec.Struct, frozen=True):
    """A prompt of an endpoint."""

    name: str
    price: Annotated[int, FlattenedKeys(of=TableSchema(_PartPrice))]
    tariff: Tariff | None = None


class MCPResourceConfig(msgspec.Struct, frozen=True):
    """A class of resources of an endpoint: those whose URIs match one of `uris`."""

    name: str
    uris: Annotated[_URIs, 'URIs of the class; "*" at the end stands for any further characters.']
    price: Annotated[int, FlattenedKeys(of=TableSchema(_PartPrice))]
    tariff: Tariff | None = None


class MCPConfig(msgspec.Struct, frozen=True):
    """An MCP endpoint. Each of its tools is judged as the tool `NAME.TOOL`.

    `price` and `tariff` are those of the tools, prompts and resources without a table of their own.
    """

    name: str
    path: Annotated[str, values.ENDPOINT_PATH, "Path at which clients connect."]
    upstream: Annotated[Name, "The [upstream.NAME] of the MCP server."]
    price: Annotated[int, FlattenedKeys(of=TableSchema(_EndpointPrice))]
    tools: Annotated[
        tuple[MCPToolConfig, ...],
        "A tool that has a price of its own, or rules on its arguments.",
        TableMap(name="tool", max_count=limits.mcp_named_max, names=_MCP_TOOL),
    ] = ()
    prompts: Annotated[
        tuple[MCPPromptConfig, ...],
        "A prompt that has a price of its own.",
        TableMap(name="prompt", max_count=limits.mcp_named_max, names=_PROMPT),
    ] = ()
    resources: Annotated[
        tuple[MCPResourceConfig, ...],
        "A class of resources, which tokens allow together.",
        TableMap(name="resource", max_count=limits.mcp_named_max),
    ] = ()
    owner: Owner = SHARED
    mode: Annotated[Mode, values.MODE_TEXT] = "enforce"
    revisions: Annotated[Revisions, "Revisions of MCP that it serves."] = "both"
    refusals: Refusals = "mcp"
    unchecked_methods: Annotated[
        _Methods, "Further methods that pass without a check; every other unknown one is refused."
    ] = ()
    pins: Annotated[
        PinMode,
        "If the server changes a tool that this machine has pinned: report it and refuse the tool "
        '("block"), only report it ("warn"), or pin no tools ("off").',
    ] = "warn"
    unapproved_tools: Annotated[
        UnapprovedTools,
        'Whether to "allow" or to "refuse" tools that the server has never listed, and tools that '
        "it added after the first use, until a person approves them.",
    ] = "allow"
    lenient_discover: Annotated[
        bool, "Let the headers of `server/discover` differ from its body, as some clients do."
    ] = False
    forward_query: Annotated[
        bool,
        "Forward the query of a client's URL to the server, without a check. Otherwise, the "
        "gateway refuses a request with a query.",
    ] = False
    show_instructions: Annotated[
        bool, "Show callers the server's instructions, whose text can name any tool."
    ] = True
    carriers: Carriers = ("authorization",)
    allow_fields: AllowedFields = ()
    body_bytes_max: Annotated[
        int,
        values.integer(1, limits.priced_body_bytes_max),
        "Longest message of a client, in bytes; a longer one gets 413.",
    ] = limits.mcp_body_bytes_max
    cors: CORS = None
    tariff: Tariff | None = None
    when_stale: WhenStale = "closed"
    binding: Annotated[Binding, values.BINDING_TEXT] = "optional"
    hosts: Annotated[
        Hosts, "Only requests to these hosts are for this endpoint.", Key(absent="any host")
    ] = ()
    rewrite: Annotated[
        str | None, values.ENDPOINT_PATH, "Its path at the server.", Key(absent="`path`")
    ] = None

    def check(self, section: TOMLTableReader) -> None:
        """Note methods that have a rule already, and pins that contradict `unapproved_tools`."""
        known = [method for method in self.unchecked_methods if method in METHODS]
        if known:
            section.problem(
                f"unchecked_methods: {', '.join(known)}: the gateway checks it; leave it out"
            )
        if self.pins == "off" and self.unapproved_tools == "refuse":
            section.problem('unapproved_tools = "refuse": pins = "off" approves no tool')

    @property
    def parts(self) -> dict[str, MCPToolConfig | MCPPromptConfig | MCPResourceConfig]:
        """The tables of its tools, prompts and resources, by the ids of these parts."""
        return {
            **{tool_ids.tool_id(self.name, each.name): each for each in self.tools},
            **{tool_ids.prompt_id(self.name, each.name): each for each in self.prompts},
            **{tool_ids.resource_id(self.name, each.name): each for each in self.resources},
        }

    @property
    def observe(self) -> bool:
        """Whether `mode` is "observe"."""
        return self.mode == "observe"

    @property
    def pin_policy(self) -> PinPolicy:
        """The reaction to tools that change, and to tools that are not pinned."""
        return PinPolicy(self.pins, self.unapproved_tools)

    @property
    def served(self) -> Revision:
        """The revisions that it serves."""
        return _REVISIONS[self.revisions]
