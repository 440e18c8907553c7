"""The tables [a2a.NAME]: an endpoint of the Agent2Agent protocol, and what its methods cost."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, TableMap
from crewgate.config.prices import Price
from crewgate.config.route_keys import CORS, AllowedFields, Carriers, Owner, WhenStale
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.values import Binding, FilePath, Hosts, Mode, Name
from crewgate.core.a2a.http_json_paths import RESERVED_SEGMENTS
from crewgate.core.a2a.methods import GRPC_SERVICES, METHODS, Action, Version
from crewgate.core.a2a.refusals import RefusalForm
from crewgate.core.policy.policy import SHARED

Versions = Literal["both", "1.0", "0.3"]

_VERSIONS = {"both": tuple(Version), "1.0": (Version.V1_0,), "0.3": (Version.V0_3,)}
WELL_KNOWN = "/.well-known/agent-card.json"  # A2A 1.0, section 14.3
_METHOD = values.one_of(METHODS, str)
_TENANT = values.pattern_text(
    "a tenant of letters, digits, ., _, ~ and -", re.compile("[A-Za-z0-9._~-]+"), 128
)
_Tenants = Annotated[tuple[str, ...], values.listed(_TENANT, limits.a2a_tenants_max)]
_Origins = Annotated[tuple[str, ...], values.listed(values.WEB_ORIGIN, limits.a2a_push_origins_max)]


class A2AMethodConfig(msgspec.Struct, frozen=True):
    """A method of an endpoint, by its name in version 1.0."""

    name: str
    price: Annotated[Price, "Credits that each call of the method costs."]


class A2AConfig(msgspec.Struct, frozen=True):
    """An A2A endpoint. Each method of its agent is judged as the tool `NAME.METHOD`.

    `price` is that of the methods that send a message. All others are free, unless they have a
    table of their own.
    """

    name: str
    path: Annotated[str, values.ENDPOINT_PATH, "Path at which clients connect."]
    upstream: Annotated[Name, "The [upstream.NAME] of the agent, for JSON-RPC and HTTP+JSON."]
    price: Annotated[Price, "Credits that each message to the agent costs."]
    methods: Annotated[
        tuple[A2AMethodConfig, ...],
        "A method that has a price of its own.",
        TableMap(name="method", max_count=len(METHODS), names=_METHOD),
    ] = ()
    rpc_path: Annotated[str, values.ENDPOINT_PATH, "Path at the agent for JSON-RPC."] = "/"
    rest_path: Annotated[
        str, values.ENDPOINT_PATH, "Path at the agent before those of HTTP+JSON."
    ] = "/"
    card_path: Annotated[str, values.ENDPOINT_PATH, "Path at the agent of its card."] = WELL_KNOWN
    well_known: Annotated[
        bool, f"Serve the card at {WELL_KNOWN} too, for clients that know only the host."
    ] = False
    grpc: Annotated[
        Name | None,
        "The [upstream.NAME] of the agent's gRPC server.",
        Key(kind=values.NAME, absent="no gRPC"),
    ] = None
    versions: Annotated[Versions, "Versions of A2A that it serves."] = "both"
    tenants: Annotated[_Tenants, "Tenants of the agent that requests may name."] = ()
    push_origins: Annotated[
        _Origins, 'Where the agent may push updates of tasks, such as "https://hooks.example".'
    ] = ()
    assign_contexts: Annotated[
        bool,
        "Name a context in each message that names none, so that a list shows the tasks of the "
        "branch. Some agents accept no context of a client.",
    ] = True
    list_all_contexts: Annotated[
        bool,
        "Let ListTasks list the tasks of the branch in all its contexts. The number of pages then "
        "shows how many tasks others have.",
    ] = False
    budget_extension: Annotated[
        bool, "Tell the agent what the branch of its caller may still spend."
    ] = True
    aauth_budget: Annotated[bool, "Add the field AAuth-Budget to responses."] = False
    card_key: Annotated[
        FilePath | None,
        "Private key (Ed25519, PEM) that signs the card of the agent anew.",
        Key(kind=values.PATH, absent="the card has no signature"),
    ] = None
    refusals: Annotated[
        RefusalForm, 'Form of refusals: "a2a" as clients expect them, "http" for problem documents.'
    ] = "a2a"
    owner: Owner = SHARED
    mode: Annotated[Mode, values.MODE_TEXT] = "enforce"
    carriers: Carriers = ("authorization",)
    allow_fields: AllowedFields = ()
    body_bytes_max: Annotated[
        int,
        values.integer(1, limits.priced_body_bytes_max),
        "Longest request of a client, in bytes; a longer one gets 413.",
    ] = limits.a2a_body_bytes_max
    cors: CORS = None
    when_stale: WhenStale = "closed"
    binding: Annotated[Binding, values.BINDING_TEXT] = "optional"
    hosts: Annotated[
        Hosts, "Only requests to these hosts are for this endpoint.", Key(absent="any host")
    ] = ()
    # Of the copies that `routes` makes.
    rewrite: str | None = None
    tariff: None = None

    def check(self, section: TOMLTableReader) -> None:
        """Note a path without room for others, and names that no path could hold."""
        if self.path == "/":
            section.problem('path = "/": choose a path below it, such as "/a2a"')
        for tenant in self.tenants:
            if tenant in RESERVED_SEGMENTS:
                section.problem(f'tenants: "{tenant}" is part of the paths of A2A')

    @property
    def observe(self) -> bool:
        """Whether `mode` is "observe"."""
        return self.mode == "observe"

    @property
    def served(self) -> tuple[Version, ...]:
        """The versions that it serves."""
        return _VERSIONS[self.versions]

    @property
    def prices(self) -> dict[str, int]:
        """The price of each method that has one of its own or costs nothing, in micro-credits."""
        free = {method.name: 0 for method in METHODS.values() if method.action is not Action.SEND}
        return free | {method.name: method.price for method in self.methods}

    @property
    def card_paths(self) -> tuple[str, ...]:
        """The paths of the card at the gateway."""
        below = self.path + WELL_KNOWN
        return (below, WELL_KNOWN) if self.well_known else (below,)

    def routes(self) -> Iterator[tuple[str, "A2AConfig", str]]:
        """Yield its routes: an HTTP method, a copy with path and upstream, and the key of these.

        The last one is that of JSON-RPC.
        """
        if self.grpc is not None:
            for service in GRPC_SERVICES:
                yield "POST", self._route(f"{service}*", upstream=self.grpc), "grpc"
        for method in ("GET", "POST", "DELETE"):
            rest = f"{self.rest_path.rstrip('/')}/*"
            yield method, self._route(f"{self.path}/*", rest), "rest_path"
        for path in self.card_paths:
            yield "GET", self._route(path, self.card_path), "card_path"
        yield "POST", self._route(self.path, self.rpc_path), "rpc_path"

    def _route(self, path: str, rewrite: str = "", upstream: str = "") -> "A2AConfig":
        return msgspec.structs.replace(
            self,
            path=path,
            rewrite=None if rewrite in {"", path} else rewrite,
            upstream=upstream or self.upstream,
        )
