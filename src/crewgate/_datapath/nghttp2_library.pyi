"""Finds the C functions of nghttp2 in a library that is installed; native code calls them."""

def libraries() -> list[tuple[str, str]]:
    """Return the name and the path of each library to try, the best first."""

def load(path: str) -> None:
    """Take the functions from the library at `path`.

    Raises LookupError if it cannot be loaded, or lacks a function; then those of before stay.
    """

def unload() -> None:
    """Forget all functions. No session may exist."""
