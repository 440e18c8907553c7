"""How a child says how far it is: in order, once, and its end is seen."""

import os

from crewgate.runtime.readiness import READY, WAITING, ReadinessListener, ReadinessNotifier


def test_a_child_is_heard_word_by_word() -> None:
    """First that all is loaded, then that it serves; nothing more after that."""
    with ReadinessListener() as parent:
        child = ReadinessNotifier(os.dup(parent.theirs))
        parent.started()
        assert not parent.poll(WAITING)
        child.send_loaded()
        assert (parent.poll(WAITING), parent.poll(READY)) == (True, False)
        child.send_ready()
        child.send_ready()
        assert parent.poll(READY)


def test_a_child_that_ends_without_a_word_is_seen() -> None:
    """Its end of the pipe is closed with it."""
    with ReadinessListener() as parent:
        parent.started()
        assert not parent.poll(READY)
        assert parent.is_over


def test_nobody_needs_to_listen() -> None:
    """A child that was started by hand has no descriptor; a parent may have gone."""
    child = ReadinessNotifier(-1)
    child.send_loaded()
    child.send_ready()
    ours, theirs = os.pipe()
    os.close(ours)
    ReadinessNotifier(theirs).send_ready()
