"""A whole gateway before ordinary tool servers, for clients that people use: HTTP/1.1 and gRPC.

The tool servers are the standard library's and grpcio's; nothing of the gateway's is in them.
"""

import gzip
import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

from installation import Premises

from crewgate.demo.ports import reserve

PAGE = b"<p>A page that is worth compressing.</p>\n" * 500
EVENTS = [b"data: %d\n\n" % number for number in range(3)]
UPLOAD = bytes(range(256)) * 4096  # 1 MiB
TOOLS = """
[upstream.tools]
url = "http://127.0.0.1:{tools}"

[upstream.grpc]
url = "http://127.0.0.1:{grpc}"
protocol = "h2"

[upstream.mcp]
url = "http://127.0.0.1:{mcp}"

[mcp.otters]
path = "/mcp/otters"
rewrite = "/mcp"
upstream = "mcp"
price = "0.01"
"""
TOOL = """
[tool."client.{name}"]
method = "{method}"
path = "{path}"
upstream = "{upstream}"
price = "0.01"
"""
ROUTES = (
    ("page", "GET", "/page", "tools"),
    ("upload", "POST", "/upload", "tools"),
    ("events", "GET", "/events", "tools"),
    ("grpc", "POST", "/echo.Echo/{method}", "grpc"),
)


def received(body: bytes) -> dict[str, object]:
    """What the tool server says of an upload."""
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


class _Tools(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/events"):
            self._stream(trailers=b"X-Sum: 3\r\n")
            return
        body = PAGE
        fields = {"Content-Type": "text/html", "ETag": '"1"', "Vary": "Accept-Encoding"}
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(PAGE)
            fields["Content-Encoding"] = "gzip"
        self._answer(body, fields)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = json.dumps(received(self._body())).encode()
        self._answer(body, {"Content-Type": "application/json"})

    def _answer(self, body: bytes, fields: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self, trailers: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in EVENTS:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            time.sleep(0.01)  # so that they are pieces
        self.wfile.write(b"0\r\n%b\r\n" % trailers)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _tool_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Tools) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def _grpc_server() -> Iterator[int]:
    """Echoes: Unary once, Stream three times, Hold until it is cut, Fail with a status."""
    try:
        import grpc  # noqa: PLC0415 - the other clients are tested where there is none
    except ImportError:
        yield 9
        return

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = dict(context.invocation_metadata())
        context.set_trailing_metadata((("x-role", metadata["x-crewgate-role"]),))
        return request

    def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(3):
            yield request + b"%d" % number
        context.set_trailing_metadata((("x-sum", "3"),))

    def chat(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from requests

    def hold(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        over = Event()
        context.add_callback(over.set)
        yield request
        over.wait(60)

    def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
        raise AssertionError

    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "Hold": grpc.unary_stream_rpc_method_handler(hold),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    pool = ThreadPoolExecutor(4)
    server = grpc.server(
        pool, handlers=[grpc.method_handlers_generic_handler("echo.Echo", handlers)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()
    pool.shutdown()


class ClientWorld:
    """Where the gateway is, whom to trust, and a token."""

    def __init__(self, premises: Premises) -> None:
        self.port = premises.port
        self.url = f"https://127.0.0.1:{premises.port}"
        self.ca = premises.folder / "certs" / "ca.pem"
        self.token = ""
        self.premises = premises
        self.mcp = reserve()  # where a test may put a server of MCP

    def mint(self, credits_: str, tools: str = "client.*,otters.*") -> str:
        """A token of a branch of its own."""
        arguments = ("--crew", "article", "--role", "tester", "--tools", tools)
        return self.premises.run("mint", *arguments, "--credits", credits_).strip()


@contextmanager
def client_world(folder: Path) -> Iterator[ClientWorld]:
    """Serve `ROUTES` while the block runs."""
    premises = Premises(folder)
    world = ClientWorld(premises)
    with _tool_server() as tools, _grpc_server() as grpc:
        head, _, _ = premises.file.read_text().partition("[upstream.tools]")
        head = head.replace("workers = 2", "workers = 1")
        head = head.replace('"search.*"', '"client.*", "otters.*"')
        text = head + TOOLS.format(tools=tools, grpc=grpc, mcp=world.mcp)
        for name, method, path, upstream in ROUTES:
            text += TOOL.format(name=name, method=method, path=path, upstream=upstream)
        premises.file.write_text(text)
        try:
            premises.serve()
            world.token = world.mint("100")
            yield world
        finally:
            premises.end()
