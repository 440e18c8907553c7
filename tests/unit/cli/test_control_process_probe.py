"""Whether the control process runs, as a command sees it from outside."""

import socket
from pathlib import Path

from crewgate.cli.control_process_probe import control_of, describe


def test_it_runs_if_its_socket_answers(fresh: Path, tmp_path: Path) -> None:
    """With where its API is; a socket that a killed process left is nobody."""
    api = "https://127.0.0.1:9002"
    there = {"configured": True, "running": False, "api": api, "has_key": True}
    assert control_of(fresh, tmp_path) == there
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "ocsp.sock"))
        assert not control_of(fresh, tmp_path)["running"]
        listener.listen()
        found = control_of(fresh, tmp_path)
    assert found == there | {"running": True}
    assert describe(found) == f"runs, API at {api}"
    assert not control_of(fresh, tmp_path)["running"]


def test_a_file_with_a_mistake_says_nothing_of_it(fresh: Path, tmp_path: Path) -> None:
    """What is in force is not what stands there; whether it runs is seen all the same."""
    fresh.write_text("nonsense = ")
    found = control_of(fresh, tmp_path)
    assert found == {"configured": None, "running": False, "api": None, "has_key": None}
    assert describe(found).startswith("not running: ")


def test_without_the_key_it_serves_nothing(fresh: Path, tmp_path: Path) -> None:
    """Which is so wherever the CA is on another machine, and no fault."""
    (fresh.parent / "ca" / "issuing.key").unlink()
    found = control_of(fresh, tmp_path)
    assert found["has_key"] is False
    assert describe(found).startswith("without the CA's key: ")


def test_without_a_ca_none_is_wanted(fresh: Path, tmp_path: Path) -> None:
    """And that it does not run is no complaint."""
    text = fresh.read_text()
    begin, end = text.index("[ca]"), text.index("# The listener for agents")
    text = text[:begin] + text[end:]
    begin, end = text.index("# The listener for other crews"), text.index("# A crew: its keys")
    fresh.write_text(text[:begin] + text[end:])
    found = control_of(fresh, tmp_path)
    assert (found["configured"], describe(found)) == (False, "not configured")
