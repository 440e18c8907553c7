"""An A2A endpoint of one configuration, compiled for the way of a request."""

from collections.abc import Collection, Mapping

import msgspec

from crewgate.config import A2AConfig
from crewgate.core.a2a import budget_extension
from crewgate.core.a2a.agent_card import CardSigner, CardView
from crewgate.core.a2a.client_ids import origin_of
from crewgate.core.a2a.methods import GRPC_SERVICES, Binding, Method, Version
from crewgate.core.a2a.refusals import A2AProblemFormat
from crewgate.core.grpc_status import answer_type
from crewgate.core.http_types import HeaderField
from crewgate.core.protected_resource import endpoint_path
from crewgate.core.sealed_ids import CallIds, IdOwner, IdSealer
from crewgate.core.tokens.grant import Grant
from crewgate.gateway.a2a.card_signing import read_card_signer
from crewgate.server.request import Request

_FREE = 0  # micro-credits
_FIXED = -1  # the price of the tool


class JudgedMethod(msgspec.Struct, frozen=True):
    """A method of the agent as the gate judges it.

    `number` is that of its own table or of the endpoint, in which case the gate compares `id`.
    `price` is in micro-credits; -1 for the fixed price of the number.
    """

    number: int
    id: str
    names_part: bool
    price: int


class A2AEndpoint(msgspec.Struct, frozen=True):
    """An endpoint: its own number, and those of the methods with a table of their own, by name."""

    config: A2AConfig
    number: int
    numbers: Mapping[str, int]
    prices: Mapping[str, int]
    push_origins: Collection[str]
    form: A2AProblemFormat
    sealer: IdSealer
    sign: CardSigner | None = None

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return self.config.name

    def binding_of(self, request: Request) -> Binding:
        """Return the binding of a request, which its path shows."""
        path = request.path.decode("ascii")
        if path == self.config.path:
            return Binding.JSONRPC
        is_grpc = any(path.startswith(service) for service in GRPC_SERVICES)
        return Binding.GRPC if is_grpc else Binding.HTTP_JSON

    def problem_format_of(self, request: Request) -> A2AProblemFormat:
        """Return how problems of a request are written, before it is judged."""
        binding = self.binding_of(request)
        content_type = answer_type(request.headers) or self.form.content_type
        return msgspec.structs.replace(self.form, binding=binding, content_type=content_type)

    def method(self, method: Method) -> JudgedMethod:
        """Return a method as the gate judges it."""
        own, method_id = self.numbers.get(method.name), f"{self.name}.{method.name}"
        if own is not None:
            return JudgedMethod(own, method_id, names_part=False, price=_FIXED)
        price = self.prices.get(method.name, _FIXED)
        return JudgedMethod(self.number, method_id, names_part=True, price=price)

    def itself(self) -> JudgedMethod:
        """Return what a request for the card uses: every caller of the endpoint may read it."""
        return JudgedMethod(self.number, self.name, names_part=False, price=_FREE)

    def ids_of(self, grant: Grant) -> CallIds:
        """Return the ids that the branch of `grant` may use here."""
        return CallIds(self.sealer, IdOwner(grant.crew, grant.branch_key, self.name))

    def card_view(self, request: Request, asked: Version | None) -> CardView:
        """Return what the card shows to the client of a request, which asks for a version."""
        config, authority = self.config, request.authority.decode()
        bindings = [Binding.JSONRPC, Binding.HTTP_JSON]
        if config.grpc is not None:
            bindings.append(Binding.GRPC)
        return CardView(
            url=f"https://{authority}{config.path}",
            authority=authority,
            scope=self.form.scope,
            bindings=bindings,
            versions=config.served,
            tenants=config.tenants,
            allows_push=bool(config.push_origins),
            extensions=(budget_extension.CARD_EXTENSION,) if config.budget_extension else (),
            asked=asked,
        )

    def server_name(self, binding: Binding) -> str:
        """Return the name under which the gateway sends requests of its own for a binding."""
        return f"{self.name}.grpc" if binding is Binding.GRPC else self.name

    def tool_field(self, used: JudgedMethod) -> HeaderField:
        """Return the field that names the method to the agent, as for all tools."""
        return (b"x-crewgate-tool", used.id.encode())


def compile_endpoint(
    config: A2AConfig, numbers: Mapping[str, int], sealer: IdSealer
) -> A2AEndpoint:
    """Compile an endpoint; `numbers` are those of the policy, by the names of its tools.

    Raises:
        ConfigurationError: The key for its card cannot be read.
    """
    own = {method.name: numbers[f"{config.name}.{method.name}"] for method in config.methods}
    form = A2AProblemFormat(
        config.refusals,
        endpoint_path(config.path).encode(),
        f"{config.name}.*",
        is_aauth=config.aauth_budget,
    )
    return A2AEndpoint(
        config,
        numbers[config.name],
        own,
        config.prices,
        frozenset(map(origin_of, config.push_origins)),
        form,
        sealer,
        None if config.card_key is None else read_card_signer(config.card_key),
    )
