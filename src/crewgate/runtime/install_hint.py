"""Says what to install: an extra that a part of Crewgate needs, or a library that works with it."""

import re

from crewgate.errors import DependencyError


def install_hint(part: str, extra: str) -> str:
    """Return the text of an error: `part` lacks packages of an extra in pyproject.toml."""
    return f"{part} needs packages that are not installed: run pip install 'crewgate[{extra}]'"


def unusable_library(name: str, fault: str) -> DependencyError:
    """Return the error for the installed package `name`, of which `fault` tells what is wrong."""
    # It brings 15 modules of email, and all processes load this module.
    from importlib import metadata  # noqa: PLC0415

    return DependencyError(
        f"Crewgate cannot use {name} {metadata.version(name)}: {fault}; "
        f"run pip install '{required_versions(name)}'"
    )


def required_versions(name: str) -> str:
    """Return the versions of the package `name` that pyproject.toml allows, as pip takes them."""
    from importlib import metadata  # noqa: PLC0415

    requirements = (text.partition(";")[0].rstrip() for text in metadata.requires("crewgate") or ())
    return next(text for text in requirements if re.split("[^a-z0-9-]", text)[0] == name)
