"""Tells the service manager that started this process about its state (sd_notify(3)).

The messages are lines of `NAME=VALUE` in one datagram to the unix socket that NOTIFY_SOCKET names.
This module knows the protocol, and nothing about the service.
"""

import os
import socket
import time
from contextlib import suppress
from typing import Final, Self

from crewgate import limits

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """A service manager that listens at `address`, and expects a keep-alive message each so often.

    `watchdog_seconds` is the time after which it ends a process without WATCHDOG=1; None: never.
    """

    def __init__(self, address: str, watchdog_seconds: float | None = None) -> None:
        # A leading @ stands for the NUL of an abstract socket (unix(7)).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds

    @classmethod
    def from_environment(cls) -> Self | None:
        """Return the service manager that the environment names; None if it names none.

        Remove the variables, so that no child process speaks for this one.
        """
        address, usec, pid = (os.environ.pop(name, "") for name in _VARIABLES)
        if not address.startswith(("/", "@")):
            return None
        # Without a pid, the watchdog is for this process (sd_watchdog_enabled(3)).
        is_ours = not pid or pid == str(os.getpid())
        seconds = int(usec) / 1e6 if usec.isdecimal() and is_ours else 0.0
        return cls(address, seconds or None)

    def send(self, *assignments: str) -> bool:
        """Send one message; return whether the service manager has it, which may be too busy."""
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            sender.settimeout(limits.service_send_seconds_max)
            sender.connect(self._address)
            sender.send("\n".join(assignments).encode())
            return True
        return False

    def send_reloading(self) -> bool:
        """Say that a reload begins: the time shows that the reload follows the request."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self.send("RELOADING=1", f"MONOTONIC_USEC={now}")
