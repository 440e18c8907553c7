"""An MCP endpoint of one configuration, compiled for the way of a request."""

from collections.abc import Hashable, Mapping

import msgspec

from crewgate import limits
from crewgate.config import MCPConfig
from crewgate.core.mcp import tool_ids
from crewgate.core.mcp.arguments.argument_rules import ArgumentRules
from crewgate.core.mcp.methods import Revision
from crewgate.core.mcp.refusals import MCPProblemFormat
from crewgate.core.mcp.resource_classes import ResourceClasses
from crewgate.core.policy.scope import matches
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.protected_resource import endpoint_path
from crewgate.core.sealed_ids import CallIds, IdOwner, IdSealer
from crewgate.core.tokens.grant import Grant


class JudgedPart(msgspec.Struct, frozen=True):
    """Something that a call uses: its number for the gate and, if that is the endpoint's, its id.

    `tariff` is None if its price is fixed, and `rules` if all arguments are allowed.
    """

    number: int
    id: str
    tariff: Tariff | None
    rules: ArgumentRules | None = None


class MCPEndpoint(msgspec.Struct, frozen=True):
    """An endpoint: its own number, and the parts that have a table of their own, by their ids.

    `measured` are the ids of other parts that have metrics of their own. `judged` has judgements of
    recent messages, by all that they depend on; `judging` keeps them here.
    """

    config: MCPConfig
    number: int
    parts: Mapping[str, JudgedPart]
    classes: ResourceClasses
    problem_format: MCPProblemFormat
    sealer: IdSealer
    measured: set[str] = msgspec.field(default_factory=set)
    judged: dict[Hashable, object] = msgspec.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return self.config.name

    @property
    def http_methods(self) -> tuple[bytes, ...]:
        """The HTTP methods that it serves; only a legacy session has a stream and an end."""
        return (b"POST", b"GET", b"DELETE") if self.serves(Revision.LEGACY) else (b"POST",)

    def serves(self, revision: Revision) -> bool:
        """Return whether the endpoint serves messages of a revision."""
        return revision in self.config.served

    def tool(self, name: str) -> JudgedPart:
        """Return a tool by its name in MCP."""
        return self._part(tool_ids.tool_id(self.name, name))

    def prompt(self, name: str) -> JudgedPart:
        """Return a prompt by its name in MCP."""
        return self._part(tool_ids.prompt_id(self.name, name))

    def resource(self, uri: str) -> JudgedPart:
        """Return the class of a resource.

        Raises:
            ValueError: Two servers could read the URI differently.
        """
        return self.resources(self.classes.class_of(uri))

    def resources(self, resource_class: str) -> JudgedPart:
        """Return the resources of one class."""
        return self._part(tool_ids.resource_id(self.name, resource_class))

    def ids_of(self, grant: Grant) -> CallIds:
        """Return the ids that the branch of `grant` may use here."""
        return CallIds(self.sealer, self.owner_of(grant))

    def owner_of(self, grant: Grant) -> IdOwner:
        """Return the owner of the ids that the branch of `grant` gets here."""
        return IdOwner(grant.crew, grant.branch_key, self.name)

    def keep(self, key: Hashable, judgement: object) -> None:
        """Keep a judgement; the oldest is dropped if there are too many."""
        if len(self.judged) >= limits.mcp_kept_judgements_max:
            del self.judged[next(iter(self.judged))]
        self.judged[key] = judgement

    def metric_name(self, part_id: str, grant: Grant) -> str:
        """Return the name in the metrics of a part without a table of its own.

        Clients choose these names, so all beyond the first `limits.mcp_tool_labels_max` share that
        of the endpoint, and so do those that the token of `grant` does not allow.
        """
        # First, so that the time of a refusal does not tell which names others use.
        if not any(matches(each, part_id) for each in grant.claims.allowed_tools):
            return self.name
        if part_id in self.measured:
            return part_id
        if len(self.measured) >= limits.mcp_tool_labels_max:
            return self.name
        self.measured.add(part_id)
        return part_id

    def _part(self, part_id: str) -> JudgedPart:
        known = self.parts.get(part_id)
        if known is not None:
            return known
        return JudgedPart(self.number, part_id, self.config.tariff)


def compile_endpoint(
    config: MCPConfig,
    numbers: Mapping[str, int],
    sealer: IdSealer,
    rules: Mapping[str, ArgumentRules],
) -> MCPEndpoint:
    """Compile an endpoint.

    `numbers` are those of the policy, by the names of its tools. `rules` are those on arguments, by
    the ids of tools.
    """
    return MCPEndpoint(
        config,
        numbers[config.name],
        {
            part_id: JudgedPart(numbers[part_id], part_id, part.tariff, rules.get(part_id))
            for part_id, part in config.parts.items()
        },
        ResourceClasses({each.name: each.uris for each in config.resources}),
        MCPProblemFormat(config.refusals, endpoint_path(config.path).encode(), f"{config.name}.*"),
        sealer,
    )
