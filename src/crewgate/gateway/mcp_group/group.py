"""A group of one configuration, compiled for the way of a request."""

from collections.abc import Sequence

import msgspec

from crewgate.core.mcp.group_results import GroupInfo
from crewgate.core.mcp.refusals import MCPProblemFormat
from crewgate.core.sealed_ids import CallIds, IdOwner, IdSealer
from crewgate.core.tokens.grant import Grant
from crewgate.gateway.mcp.endpoint import MCPEndpoint
from crewgate.gateway.mcp_group.shown_names import ShownNames
from crewgate.gateway.tool_route import ToolRoute
from crewgate.version import __version__


class GroupMember(msgspec.Struct, frozen=True):
    """An endpoint as clients of the group reach it, and the route to its server."""

    endpoint: MCPEndpoint
    route: ToolRoute

    @property
    def name(self) -> str:
        """The name of the endpoint, which stands before names that two of them have."""
        return self.endpoint.name


class MCPGroup(msgspec.Struct, frozen=True):
    """A group: its endpoints, and the names that this worker has shown to branches."""

    name: str
    members: Sequence[GroupMember]
    problem_format: MCPProblemFormat
    sealer: IdSealer
    shown: ShownNames = msgspec.field(default_factory=ShownNames)

    @property
    def info(self) -> GroupInfo:
        """The group as its clients see it."""
        return GroupInfo(self.name, [each.name for each in self.members], __version__)

    @property
    def body_bytes_max(self) -> int:
        """How long a message may be: the endpoint that it concerns may allow less."""
        return max(each.route.body_bytes_max for each in self.members)

    def ids_of(self, grant: Grant) -> CallIds:
        """Return the ids of the group that the branch of `grant` may use."""
        return CallIds(self.sealer, IdOwner(grant.crew, grant.branch_key, self.name))
