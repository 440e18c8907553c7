"""The Python API: what each public module exports, as the docstrings describe it."""

import inspect
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from sphinx.ext.autodoc.mock import mock

from _generate.markdown import code, text

MODULES = (
    "crewgate",
    "crewgate.verifier",
    "crewgate.asgi",
    "crewgate.issuer",
    "crewgate.issuer.remote",
    "crewgate.issuer.branch_certificates",
    "crewgate.issuer.httpx_auth",
    "crewgate.issuer.httpx2_auth",
    "crewgate.issuer.requests_auth",
    "crewgate.issuer.aiohttp_auth",
    "crewgate.issuer.grpc_auth",
    "crewgate.mcp",
    "crewgate.integrations",
    "crewgate.integrations.langgraph",
    "crewgate.integrations.crewai",
    "crewgate.integrations.openai_agents",
    "crewgate.integrations.claude_agent",
    "crewgate.errors",
)

# Frameworks that the extra `dev` does not have. Sphinx puts stubs in the place of a missing one.
MISSING = [name for name in ("crewai", "claude_agent_sdk") if find_spec(name) is None]


def markdown() -> str:
    """A section for each module, with a directive of autodoc for each name that it exports.

    A name that an earlier module exports as well stands there alone. A module without a name of its
    own has no section.
    """
    parts: list[str] = []
    shown: set[int] = set()
    for name in MODULES:
        with mock(MISSING):
            module = import_module(name)
        found = {each: getattr(module, each) for each in exported(module)}
        own = {each: value for each, value in found.items() if id(value) not in shown}
        shown |= {id(value) for value in own.values()}
        if own:
            summary = (inspect.getdoc(module) or "").split("\n\n")
            parts += [f"## {code(name)}\n", *(f"{text(each)}\n" for each in summary)]
            parts += [_directive(name, each, value) for each, value in own.items()]
    return "\n".join(parts)


def exported(module: ModuleType) -> list[str]:
    """What a module says that it exports; else its own classes and functions, in their order."""
    if hasattr(module, "__all__"):
        return [each for each in module.__all__ if not each.startswith("_")]
    return [
        each
        for each, value in vars(module).items()
        if not each.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]


def _directive(module: str, name: str, value: object) -> str:
    kind, options = "data", ""
    if inspect.isclass(value):
        is_error = issubclass(value, BaseException)
        kind = "exception" if is_error else "class"
        options = "   :members:\n" + ("   :show-inheritance:\n" if is_error else "")
        options += "   :undoc-members:\n" if issubclass(value, Enum) else ""
        # The base classes of a library have their own documents.
        is_own = all(base.__module__.startswith("crewgate.") for base in value.__bases__)
        options += "   :inherited-members:\n" if is_own and not is_error else ""
    elif inspect.isroutine(value):
        kind = "function"
    return f"```{{eval-rst}}\n.. auto{kind}:: {module}.{name}\n{options}```\n"
