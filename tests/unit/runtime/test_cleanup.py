"""What a block has taken is given back, whether the block ends or fails."""

import os
from pathlib import Path

import pytest

from crewgate.runtime.cleanup import lent, on_error


def test_a_lent_descriptor_is_closed_at_the_end(tmp_path: Path) -> None:
    with lent(os.open(tmp_path, os.O_RDONLY)) as descriptor:
        os.fstat(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_lent_descriptor_is_closed_after_an_error(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(KeyboardInterrupt), lent(descriptor):
        raise KeyboardInterrupt
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_an_error_undoes_what_the_block_has_done_and_goes_on() -> None:
    undone: list[str] = []
    with pytest.raises(KeyboardInterrupt), on_error(undone.append, "it"):
        raise KeyboardInterrupt
    assert undone == ["it"]


def test_a_block_that_ends_is_not_undone() -> None:
    undone: list[str] = []
    with on_error(undone.append, "it"):
        pass
    assert undone == []
