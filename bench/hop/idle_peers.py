"""`python -m bench.hop.idle_peers PORT COUNT`: clients that have connected over TLS and do nothing.

Says `ready`, holds them until a line comes, says how many are still there, and ends. They have sent
an HTTP/2 preface and settings, so that each has cost its gateway all that a connection costs.
"""

import ssl
import sys

from bench.hop import frames
from bench.hop.client import connect, context
from bench.hop.limits import raise_descriptors

RECEIVE_BYTES = 4096


def alive(sock: ssl.SSLSocket) -> bool:
    """Whether the peer has not closed it."""
    try:
        while sock.recv(RECEIVE_BYTES):
            pass
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False


def main(port: int, count: int) -> None:
    """Connect, hold, count."""
    raise_descriptors(count)
    tls = context()
    held = []
    for _ in range(count):
        sock = connect(port, tls)
        sock.send(frames.PREFACE + frames.settings({}))
        held.append(sock)
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(map(alive, held)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
