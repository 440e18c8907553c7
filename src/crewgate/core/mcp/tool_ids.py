"""The ids by which tokens, prices, audit and metrics name what an MCP endpoint offers.

At the endpoint `files`, the tool `delete` is `files.delete`, the prompt `greet` is
`files:prompts.greet`, and a resource of the class `docs` is `files:resources.docs`. A pattern such
as `files.*` covers all tools, also those whose names are no segments of an id.
"""

import re

from crewgate.core.policy.scope import is_tool_name

# 2026-07-28, "Tools": 1 to 128 characters.
_TOOL = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_PROMPT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_COLON_KINDS = ("prompts", "resources")


def is_tool(name: str) -> bool:
    """Return whether a tool may have this name; tools with other names are not served."""
    return _TOOL.fullmatch(name) is not None


def is_prompt(name: str) -> bool:
    """Return whether a prompt may have this name; prompts with other names are not served."""
    return _PROMPT.fullmatch(name) is not None


def tool_id(endpoint: str, name: str) -> str:
    """Return the id of a tool."""
    return f"{endpoint}.{name}"


def prompt_id(endpoint: str, name: str) -> str:
    """Return the id of a prompt."""
    return f"{endpoint}:prompts.{name}"


def resource_id(endpoint: str, resource_class: str) -> str:
    """Return the id of the resources of one class."""
    return f"{endpoint}:resources.{resource_class}"


def scope_of(part_id: str, endpoint: str) -> str:
    """Return what a token must allow for a part, or for the endpoint itself if that is its id.

    That is the id, or a pattern if no token can name the id. A client or a server chooses the names
    of prompts, so an id can have quotes, which would add parameters to a challenge (RFC 6750,
    section 3).
    """
    if part_id != endpoint and is_tool_name(part_id):
        return part_id
    kind = next((each for each in _COLON_KINDS if part_id.startswith(f"{endpoint}:{each}.")), "")
    return f"{endpoint}:{kind}.*" if kind else f"{endpoint}.*"


def is_possible(pattern: str, endpoint: str) -> bool:
    """Return whether ids of the endpoint can fit a valid pattern that begins with its name."""
    kinds = tuple(f"{endpoint}:{kind}." for kind in _COLON_KINDS)
    return not pattern.startswith(f"{endpoint}:") or pattern.startswith(kinds)


def with_colon(pattern: str, endpoint: str) -> str | None:
    """Return the pattern of prompts or resources that a person means who writes "." for ":".

    Return None if the pattern does not look so.
    """
    for kind in _COLON_KINDS:
        rest = pattern.removeprefix(f"{endpoint}.{kind}")
        if rest != pattern and rest[:1] in {"", "."}:
            return f"{endpoint}:{kind}{rest or '.*'}"
    return None
