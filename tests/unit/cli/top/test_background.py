"""Readings and orders beside the screen: what fails is told, and what takes long is done less."""

import queue
import threading

import pytest
from live_trees import LOOP, answer, node

from crewgate.cli.top.background import Background, Failure, Receipt, pause
from crewgate.cli.top.reading import Node, Reading
from crewgate.errors import ServiceConnectionError, ServiceRefusedError
from crewgate.ipc.cluster_view import ClusterTree


class Play:
    """A source that does what a test has put in."""

    def __init__(self, *answers: ClusterTree | BaseException) -> None:
        self._answers = iter(answers)
        self._hold = threading.Event()

    def read(self) -> ClusterTree:
        found = next(self._answers, None)
        if found is None:
            self._hold.wait()  # a daemon thread, which ends with the process
            raise AssertionError
        if isinstance(found, BaseException):
            raise found
        return found

    def end(self, node: Node) -> list[str]:
        return [f"revoked {node.branch}"]

    def quarantine(self, crew: str, orchestrator: str) -> list[str]:
        raise ServiceRefusedError(f"no crew {crew} of {orchestrator}")


def begun(*answers: ClusterTree | BaseException) -> tuple[Background, Play, "queue.Queue[None]"]:
    woken: queue.Queue[None] = queue.Queue()
    source = Play(*answers)
    background = Background(source, 0.0, lambda: woken.put(None))
    background.start()
    return background, source, woken


def test_a_failed_reading_is_told_and_the_next_one_is_tried() -> None:
    """The agent is away, and comes back."""
    lost = ServiceConnectionError("the agent closed the connection")
    background, _, woken = begun(answer(), lost, FileNotFoundError(2, "No such file"), answer())
    found = [background.results.get(timeout=20) for _ in range(4)]
    assert [type(each) for each in found] == [Reading, Failure, Failure, Reading]
    assert found[1] == Failure("the agent closed the connection")
    assert woken.qsize() >= 3
    background.stop()


def test_an_order_has_a_receipt_or_a_reason() -> None:
    """Each in turn, while readings go on."""
    background, source, _ = begun()
    background.order("End", lambda: source.end(node(LOOP)))
    background.order("Quarantine", lambda: source.quarantine("bd", "bd/x"))
    assert background.results.get(timeout=20) == Receipt("End", [f"revoked {LOOP}"])
    failed = background.results.get(timeout=20)
    assert isinstance(failed, Receipt)
    assert failed.lines[0] == "no crew bd of bd/x"


def test_what_nobody_expects_reaches_the_screen() -> None:
    """It must not end a thread in silence."""
    background, _, _ = begun(ZeroDivisionError("a mistake"))
    assert isinstance(background.results.get(timeout=20), ZeroDivisionError)


@pytest.mark.parametrize(
    ("lasted", "expected"), [(0.01, 0.99), (0.2, 0.8), (0.5, 2.0), (3.0, 12.0)]
)
def test_readings_take_a_fifth_of_the_time_at_most(lasted: float, expected: float) -> None:
    """Of the agent's, too: a table with very many branches is read every few seconds."""
    assert pause(100.0, 100.0 + lasted, 1.0) == pytest.approx(expected)
