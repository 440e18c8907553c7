"""Floods a control API until its standard input ends: `PORT ROOT PREFIX`; then prints counts.

Threads that shake hands and hang up, with a certificate and without one, and threads that ask for
the tree as fast as it comes.
"""

import json
import os
import socket
import ssl
import sys
import threading
from collections import Counter

ASK = b"GET /v1/tree HTTP/1.1\r\nhost: localhost\r\n\r\n"
counts: Counter[str] = Counter()
over = threading.Event()


def context(root: str, prefix: str = "") -> ssl.SSLContext:
    found = ssl.create_default_context(cafile=root)
    if prefix:
        found.load_cert_chain(f"{prefix}.pem", f"{prefix}.key")
    return found


def open_one(port: int, how: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), 20)
    return how.wrap_socket(plain, server_hostname="localhost")


def shake(port: int, how: ssl.SSLContext, name: str) -> None:
    while not over.is_set():
        try:
            open_one(port, how).close()
        except OSError:
            counts["failed"] += 1
        counts[name] += 1


def ask(port: int, how: ssl.SSLContext) -> None:
    while not over.is_set():
        try:
            with open_one(port, how) as stream:
                while not over.is_set():
                    stream.sendall(ASK)
                    counts[stream.recv(65_536).split(b" ", 2)[1].decode()] += 1
        except (OSError, IndexError):
            counts["failed"] += 1


def main() -> None:
    os.nice(19)  # what the flood costs its sender is nobody's loss
    port, root, prefix = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    good, none = context(root, prefix), context(root)
    works = [(shake, (port, good, "good"))] * 4 + [(shake, (port, none, "none"))] * 4
    threads = [threading.Thread(target=work, args=given) for work, given in works]
    threads += [threading.Thread(target=ask, args=(port, good)) for _ in range(8)]
    for thread in threads:
        thread.start()
    sys.stdin.buffer.read()
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
