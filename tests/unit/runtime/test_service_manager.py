"""The protocol of sd_notify(3), against a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewgate.runtime.service_manager import ServiceManager

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    """As systemd's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


def found_in(monkeypatch: pytest.MonkeyPatch, **variables: str) -> ServiceManager | None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = ServiceManager.from_environment()
    assert not {*VARIABLES} & os.environ.keys(), "no child may speak for this process"
    return found


def test_a_message_is_one_datagram_of_lines(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = found_in(monkeypatch, NOTIFY_SOCKET=receiver.getsockname())
    assert manager is not None
    assert manager.send("READY=1", "STATUS=serving calls")
    assert receiver.recv(4096) == b"READY=1\nSTATUS=serving calls"
    assert manager.send_reloading()
    first, second = receiver.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdecimal()


def test_an_abstract_socket_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"crewgate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        abstract.bind(f"\0{name}")
        abstract.settimeout(10)
        manager = found_in(monkeypatch, NOTIFY_SOCKET=f"@{name}")
        assert manager is not None
        assert manager.send("READY=1")
        assert abstract.recv(4096) == b"READY=1"


def test_a_service_manager_that_has_gone_ends_nothing() -> None:
    assert not ServiceManager("/nowhere/notify").send("READY=1")


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_may_be_for_another_process(
    variables: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = found_in(monkeypatch, NOTIFY_SOCKET="/run/notify", **variables)
    assert found is not None
    assert found.watchdog_seconds == seconds


@pytest.mark.parametrize("address", ["", "vsock:2:9999", "relative"])
def test_without_a_socket_there_is_no_service_manager(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found_in(monkeypatch, NOTIFY_SOCKET=address, WATCHDOG_USEC="5") is None
