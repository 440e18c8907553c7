"""Says how to install the packages that only some parts of Crewgate need (extras)."""


def install_hint(part: str, extra: str) -> str:
    """Return the text of an error: `part` lacks packages of an extra in pyproject.toml."""
    return (
        f"{part} needs packages that are not installed: run pip install '.[{extra}]' in the folder "
        "of your clone of Crewgate"
    )
