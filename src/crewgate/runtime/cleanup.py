"""Gives back what a block has taken: always at its end, or only if it fails."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

P = ParamSpec("P")


@contextmanager
def lent(descriptor: int) -> Iterator[int]:
    """Lend a descriptor to the block, and close it at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def on_error(undo: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Iterator[None]:
    """Call `undo` if the block raises; its error goes on."""
    try:
        yield
    except BaseException:
        undo(*args, **kwargs)
        raise
