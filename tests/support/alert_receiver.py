"""A receiver of alerts on loopback, which verifies the signatures with a library of others."""

import base64
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"s3cret-of-the-receiver-of-alerts").decode()


class Receiver(ThreadingHTTPServer):
    """Verifies and keeps what it gets; `status` is what it answers. It can be away."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.alerts: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def about(self, subject: str) -> list[dict[str, Any]]:
        """The alerts about a subject, each once."""
        found = {each["id"]: each for each in list(self.alerts) if each["subject"] == subject}
        return [*found.values()]

    def end(self) -> None:
        self.shutdown()
        self.server_close()

    def begin_again(self) -> None:
        """Listen at the same port as before."""
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.server_bind()
        self.server_activate()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        receiver = self.server
        if receiver.status == 200 and self.path == "/alerts":
            # Raises unless the signature of the independent library is the same.
            receiver.alerts.append(Webhook(SECRET).verify(body.decode(), dict(self.headers)))
        elif receiver.status == 200:
            assert self.path == "/services/T0/s3cret"
            receiver.messages.append(json.loads(body))
        self.send_response(receiver.status)
        if receiver.status != 200:
            self.send_header("retry-after", "1")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Write no log."""
