"""Machines with networks of their own: namespaces on one bridge, where packets can be lost.

Each namespace lives as long as a process that waits for its input's end: when the test is gone,
however it went, so is the network. Nothing of it has a name outside. Needs root, iproute2 and
nftables; `missing` says what there is not. Loss is nftables' and not netem's, which not every
kernel has: packets are dropped where they come in, at random, so that senders see nothing of it.
"""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

_CLONE_NEWNET = 0x4000_0000  # <linux/sched.h>
_SUBNET = "10.213.7"
_SECONDS = 30
_TABLE = """\
add table inet faults
delete table inet faults
table inet faults {{
    chain arriving {{
        type filter hook input priority 0; policy accept;
        iif lo accept
{rules}
    }}
}}
"""


class Namespace:
    """A network of its own, for as long as it is held."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        with suppress(BrokenPipeError):
            self._holder.stdin.write(b".")
            self._holder.stdin.flush()
        if self._holder.stdout.read(1) != b".":  # `cat` answers from within
            self.end()
            raise OSError("unshare made no namespace")

    @property
    def pid(self) -> int:
        """Of a process that is in it."""
        return self._holder.pid

    @property
    def within(self) -> tuple[str, ...]:
        """What is to be put before a command that is to run in it."""
        return ("nsenter", "--target", str(self.pid), "--net", "--")

    def run(self, *arguments: str, stdin: str = "") -> str:
        """A command in it; what it printed. CalledProcessError, FileNotFoundError."""
        done = subprocess.run(
            [*self.within, *arguments],
            input=stdin, capture_output=True, text=True, check=True, timeout=_SECONDS,
        )  # fmt: skip
        return done.stdout

    def end(self) -> None:
        """Let it go."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.kill()
        self._holder.wait()
        with suppress(BrokenPipeError):
            self._holder.stdin.close()
        self._holder.stdout.close()


class Place(Namespace):
    """Where one machine is: `address` is its own on the bridge."""

    address = ""

    def lose(self, percent: int) -> None:
        """Of all that comes in."""
        self._rule(f"numgen random mod 100 < {percent} drop")

    def deafen(self, *others: "Place") -> None:
        """Nothing comes in any more from these."""
        self._rule(f"ip saddr {{ {', '.join(other.address for other in others)} }} drop")

    def mend(self) -> None:
        """All comes in again."""
        self._rule("")

    def connect(self, port: int) -> socket.socket:
        """A connection to its loopback address, from within."""

        def connected() -> socket.socket:
            enter(self.pid)
            return socket.create_connection(("127.0.0.1", port), _SECONDS)

        with ThreadPoolExecutor(1) as pool:  # where a thread is, its new sockets are
            return pool.submit(connected).result()

    def _rule(self, rule: str) -> None:
        self.run("nft", "-f", "-", stdin=_TABLE.format(rules=rule))


def enter(pid: int) -> None:
    """This thread is where a process is, for good; OSError."""
    with Path(f"/proc/{pid}/ns/net").open("rb") as net:
        if ctypes.CDLL(None, use_errno=True).setns(net.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def network(size: int) -> Iterator[list[Place]]:
    """So many places that reach one another."""
    with ExitStack() as stack:
        bridge = Namespace()
        stack.callback(bridge.end)
        bridge.run("ip", "link", "add", "bridge", "type", "bridge")
        bridge.run("ip", "link", "set", "bridge", "up")
        places = []
        for number in range(1, size + 1):
            place = Place()
            stack.callback(place.end)
            place.address = f"{_SUBNET}.{number}"
            port, inner = f"port{number}", ("type", "veth", "peer", "name", "eth0")
            bridge.run("ip", "link", "add", port, *inner, "netns", str(place.pid))
            bridge.run("ip", "link", "set", port, "master", "bridge", "up")
            place.run("ip", "address", "add", f"{place.address}/24", "dev", "eth0")
            place.run("ip", "link", "set", "eth0", "up")
            place.run("ip", "link", "set", "lo", "up")
            places.append(place)
        yield places


@cache
def missing() -> str:
    """Why there can be no such network here; "" where there can."""
    try:
        with network(1) as (place,):
            place.lose(20)
            place.mend()
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    except subprocess.CalledProcessError as error:
        if shutil.which(error.cmd[5]) is None:  # what nsenter was to run
            return f"{error.cmd[5]} is not installed"
        said = (error.stderr or error.stdout or "").strip().splitlines()
        command = " ".join(error.cmd[5:8])
        why = f"{command}: {said[0] if said else f'status {error.returncode}'}"
    except OSError as error:
        why = str(error)
    else:
        return ""
    return f"no network of our own can be made: {why}"
