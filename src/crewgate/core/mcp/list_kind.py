"""The lists of an MCP server: of tools, prompts, resources, and templates of resources."""

import enum
from collections.abc import Mapping
from typing import Final

from crewgate.core.mcp import tool_ids


class ListKind(enum.Enum):
    """A kind of list: the member of a result that holds it, and the member that names an entry."""

    TOOLS = "tools", "name"
    PROMPTS = "prompts", "name"
    RESOURCES = "resources", "uri"
    TEMPLATES = "resourceTemplates", "uriTemplate"

    @property
    def member(self) -> str:
        """The member of the result that holds the list."""
        return self.value[0]

    @property
    def key(self) -> str:
        """The member of an entry that names it."""
        return self.value[1]

    def is_served(self, name: str) -> bool:
        """Return whether the gateway serves an entry with this name."""
        if self is ListKind.TOOLS:
            return tool_ids.is_tool(name)
        if self is ListKind.PROMPTS:
            return tool_ids.is_prompt(name)
        return True


# The method that asks for each kind.
LIST_METHODS: Final[Mapping[str, ListKind]] = {
    "tools/list": ListKind.TOOLS,
    "prompts/list": ListKind.PROMPTS,
    "resources/list": ListKind.RESOURCES,
    "resources/templates/list": ListKind.TEMPLATES,
}
