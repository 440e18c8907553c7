"""`python -m bench.hop.receiver PORT`: takes OTLP over HTTP, and reads nothing of it.

It gives way to all else, as a collector on another machine would. It ends when its standard input
does.
"""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 1 << 20
NICENESS = 10


class Taking(BaseHTTPRequestHandler):
    """Answers each batch as taken."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read a batch, and say that all of it was taken."""
        left = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, PIECE)))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve until the standard input ends."""
    os.nice(NICENESS)
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
