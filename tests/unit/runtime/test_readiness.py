"""How a child says how far it is: in order, once, and its end is seen."""

import os

from crewgate.runtime.readiness import READY, WAITING, Listening, Word


def test_a_child_is_heard_word_by_word() -> None:
    """First that all is loaded, then that it serves; nothing more after that."""
    with Listening() as parent:
        child = Word(os.dup(parent.theirs))
        parent.started()
        assert not parent.heard(WAITING)
        child.wait()
        assert (parent.heard(WAITING), parent.heard(READY)) == (True, False)
        child.say()
        child.say()
        assert parent.heard(READY)


def test_a_child_that_ends_without_a_word_is_seen() -> None:
    """Its end of the pipe is closed with it."""
    with Listening() as parent:
        parent.started()
        assert not parent.heard(READY)
        assert parent.is_over


def test_nobody_needs_to_listen() -> None:
    """A child that was started by hand has no descriptor; a parent may have gone."""
    child = Word(-1)
    child.wait()
    child.say()
    ours, theirs = os.pipe()
    os.close(ours)
    Word(theirs).say()
