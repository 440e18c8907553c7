"""Run as the first process of a pid namespace: a sidecar there, its CMD, and a stranger.

Prints whether the peer check admits an orphaned descendant of CMD, a stranger, and a connection of
a stranger whose pid a descendant of CMD has by now.
"""

import os
import signal
import socket
import sys
from pathlib import Path

from crewgate.sidecar.command_supervisor import become_subreaper
from crewgate.sidecar.connected_process import ConnectedProcess

_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def main(path: str) -> None:
    """Be init: the parent of the sidecar and of the stranger."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    ours, sidecar_s = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        become_subreaper()
        run_sidecar(listener, sidecar_s)
        os._exit(0)
    sidecar_s.close()

    def ask(order: str) -> str:
        ours.sendall(order.encode())
        return ours.recv(100).decode()

    sys.stdout.write(f"orphan {ask('orphan')}\n")
    connect_and_leave(path)
    sys.stdout.write(f"stranger {ask('accept')}\n")
    pid = connect_and_leave(path)
    sys.stdout.write(f"reused {ask(f'reuse {pid}')}\n")
    sys.stdout.flush()
    os._exit(0)  # the end of the first process ends all of them


def connect_and_leave(path: str) -> int:
    """Connect in a process that ends, and whose child keeps the connection; return its pid."""
    pid = os.fork()
    if pid == 0:
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        if os.fork() == 0:
            signal.pause()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def run_sidecar(listener: socket.socket, orders: socket.socket) -> None:
    """Do as ordered; each time, accept one connection and say whether it is admitted."""
    while order := orders.recv(100).decode():
        word, _, pid = order.partition(" ")
        if word == "orphan":
            start_orphan(listener.getsockname())
        elif word == "reuse":
            _LAST_PID.write_text(str(int(pid) - 1))
            child = os.fork()
            if child == 0:
                signal.pause()
            assert child == int(pid), f"{child} and not {pid}"
        with listener.accept()[0] as connection, ConnectedProcess(connection) as peer:
            orders.sendall(str(peer.descends_from(os.getpid())).encode())


def start_orphan(path: str) -> None:
    """Connect in a grandchild whose parent has ended."""
    if os.fork() == 0:
        if os.fork() == 0:
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            signal.pause()
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
