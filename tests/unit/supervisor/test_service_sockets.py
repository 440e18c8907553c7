"""Which process accepts from the sockets that a service manager has opened."""

import socket

import msgspec
import pytest

from crewgate.config import Config
from crewgate.errors import ConfigurationError
from crewgate.supervisor import serve
from crewgate.supervisor.serve import Supervisor
from crewgate.supervisor.service_sockets import ServiceSockets


def test_a_socket_from_which_no_process_accepts_is_a_mistake(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients would wait in it for ever; the message names the place as the unit has it."""
    listener = config.listeners[0]
    assert config.control is not None
    control = config.control.address, config.control.port
    with socket.socket() as one, socket.socket() as other, socket.socket() as third:
        right = {(listener.address, listener.port): one, control: third}
        assert ServiceSockets(right).unserved(config) == ""
        assert ServiceSockets({}).unserved(config) == ""
        assert ServiceSockets(right).of_control(config) == [third.fileno()]
        idle = msgspec.structs.replace(config, workers=0, control=None)
        assert "clients wait at 127.0.0.1:9000, 127.0.0.1:9002" in ServiceSockets(right).unserved(
            idle
        )
        assert ServiceSockets(right).of_control(idle) == []
        monkeypatch.setattr(serve, "activated_sockets", lambda: {**right, ("::", 9000): other})
        with pytest.raises(ConfigurationError, match=r"clients wait at \[::\]:9000, where"):
            Supervisor(config.path)
