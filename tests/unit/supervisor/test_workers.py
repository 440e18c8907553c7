"""The workers and the sockets that a service manager has opened for them."""

import socket

import msgspec
import pytest

from crewgate.config import Config
from crewgate.errors import ConfigurationError
from crewgate.supervisor import serve
from crewgate.supervisor.serve import Supervisor
from crewgate.supervisor.workers import Workers


def test_a_socket_from_which_no_worker_accepts_is_a_mistake(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients would wait in it for ever; the message names the place as the unit has it."""
    listener = config.listeners[0]
    with socket.socket() as one, socket.socket() as other:
        right = {(listener.address, listener.port): one}
        assert Workers("x", shared=right).unserved_sockets(config) == ""
        assert Workers("x").unserved_sockets(config) == ""
        idle = msgspec.structs.replace(config, workers=0)
        assert f"clients wait at {listener.address}:9000" in Workers(
            "x", shared=right
        ).unserved_sockets(idle)
        wrong = {**right, ("::", 9000): other}
        monkeypatch.setattr(serve, "activated_sockets", lambda: wrong)
        with pytest.raises(ConfigurationError, match=r"clients wait at \[::\]:9000, where"):
            Supervisor(config.path)
