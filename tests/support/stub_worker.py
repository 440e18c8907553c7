"""A gateway worker that serves nothing: attaches, says that it accepts, loads what it is told to.

`-c FILE --worker I`. It ends on SIGTERM, unless FILE's folder holds a file `stubborn`.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from crewgate.config import load
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.attach_messages import (
    Reload,
    RevocationAck,
    RevocationNotice,
    WorkerReadinessReport,
    group_answers,
    pack,
    unpack,
)
from crewgate.ipc.handshake import AttachedConnection, attach


def serve(session: AttachedConnection) -> None:
    connection, attached = session.connection, session.attached
    connection.settimeout(None)
    connection.sendall(
        pack(WorkerReadinessReport(accepting=True, policy_generation=attached.policy_generation))
    )
    while data := connection.recv(65536):
        for body in session.decoder.feed(data):
            message = unpack(group_answers, body)
            if isinstance(message, Reload):
                generation = message.generation
                connection.sendall(
                    pack(WorkerReadinessReport(accepting=True, policy_generation=generation))
                )
            elif isinstance(message, RevocationNotice):
                connection.sendall(pack(RevocationAck(id=message.id, last_cut_ns=0, count=0)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", dest="file", type=Path)
    parser.add_argument("--worker", type=int)
    asked, _ = parser.parse_known_args()
    stubborn = (asked.file.parent / "stubborn").exists()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: sys.exit(0))
    state = load(asked.file).state
    while True:
        try:
            session = attach(state, worker=asked.worker, answers_cuts=True)
        except ServiceConnectionError:
            time.sleep(0.02)
            continue
        try:
            serve(session)
        except OSError:
            continue


if __name__ == "__main__":
    main()
