"""A small server that speaks to the live page as `crewgate.ui` does, from made-up branches.

It has real sockets. A test changes its rows, holds its answers, cuts its connections or restarts
it.
It refuses a request whose proof of the browser's key is not good, as the real server does.
"""

import base64
import hashlib
import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import page_examples
import replay_examples
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from page_examples import Row

from crewgate.ui.security_headers import SECURITY_FIELDS

STATIC = Path(__file__).parents[2] / "src" / "crewgate" / "ui" / "static"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
FIXED = {"/api/access": page_examples.access, "/api/runs": replay_examples.runs,
          "/api/replay": replay_examples.replay}  # fmt: skip
PIECE_ROWS = 2_000  # of a reset, as the real server sends it
COOKIE = "crewgate-session"
Action = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


def receipt(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer to an action that has reached three of three machines."""
    reach = {"until": "all", "applied_on": 3, "of": 3, "ms": 11.4, "missing": [], "enough": True}
    what = f"{body.get('branch') or body.get('orchestrator')} of crew {body['crew']}"
    lines = [
        f"revoked {what} and all below it: 1 open call cut within 2.1 ms",
        "on the disks of 3 of 3 machines after 11.4 ms",
    ]
    return 200, {"lines": lines, "receipt": {"reach": reach}}


def problem(status: int, title: str, detail: str) -> tuple[int, dict[str, Any]]:
    return status, {"type": f"urn:crewgate:{title}", "title": title, "status": status,
                    "detail": detail}  # fmt: skip


class FakePageServer:
    """The state of the server, what it has received, and its faults."""

    def __init__(self, rows: Iterable[Row], *, session: dict[str, Any] | None = None) -> None:
        self.rows = {row["n"]: row for row in rows}
        self.session = session or page_examples.session()
        self.ways = {"login": "https://id.example", "certificate": True, "link": True,
                     "machine": "gw-1"}  # fmt: skip
        self.machines = page_examples.machines()
        self.alerts = page_examples.alerts()
        self.names = [*page_examples.MACHINES]
        self.not_asked: list[dict[str, str]] = []
        self.login_failure = ""
        self.action: Action = receipt
        self.actions: list[dict[str, Any]] = []  # each once, however often it came
        self.done: dict[str, tuple[int, dict[str, Any]]] = {}  # their answers by id
        self.requests: list[str] = []
        self.refusals: list[str] = []  # why a proof was not good
        self.details: Callable[[Row], dict[str, Any]] = page_examples.details
        self.may_answer_actions = threading.Event()
        self.may_answer_actions.set()
        self.cuts_actions = False  # the order is carried out, and its answer is lost
        self.is_away = False
        self.code = "one-time"
        self._keys: dict[str, str] = {}  # by cookie: the thumbprint of the key
        self._attempts: dict[str, str] = {}
        self._nonce = secrets.token_urlsafe(8)
        self._proofs: set[str] = set()
        self._streams: set[queue.Queue[bytes | None]] = set()
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://localhost:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["FakePageServer"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self.may_answer_actions.set()
            self.cut_streams()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def change(self, number: int, **members: Any) -> None:
        """Change members of a row, and send them."""
        with self._lock:
            self.rows[number] |= members
            self._send_tree(rows=[{"n": number, **members}])

    def change_many(self, rows: list[Row]) -> None:
        with self._lock:
            for row in rows:
                self.rows[row["n"]] |= row
            self._send_tree(rows=rows)

    def add(self, row: Row) -> None:
        with self._lock:
            self.rows[row["n"]] = row
            self._send_tree(rows=[row])

    def drop(self, number: int) -> None:
        with self._lock:
            del self.rows[number]
            self._send_tree(gone=[number])

    def report(self, name: str, data: object) -> None:
        """Send an event to each page."""
        self._send(_event(name, data))

    def cut_streams(self) -> None:
        """Close the stream of each page."""
        with self._lock:
            for stream in self._streams:
                stream.put(None)

    def go_away(self) -> None:
        """Answer nothing, as a process that has ended."""
        self.is_away = True
        self.cut_streams()

    def restart(self) -> None:
        """Answer again, with another nonce and other numbers for the rows."""
        self._nonce = secrets.token_urlsafe(8)
        with self._lock:
            shift = max(self.rows, default=0) + 1000
            self.rows = {n + shift: row | {"n": n + shift} for n, row in self.rows.items()}
        self.is_away = False

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def _send(self, event: bytes) -> None:
        with self._lock:
            for stream in self._streams:
                stream.put(event)

    def _send_tree(self, **members: Any) -> None:
        self._send(self.tree_event(**members))

    def tree_event(self, **members: Any) -> bytes:
        usual = {"reset": False, "at": round(time.time() * 1000), "rows": [], "gone": [],
                 "machines": self.names, "not_asked": self.not_asked, "left_out": 0,
                 "more": False}  # fmt: skip
        return _event("tree", usual | members)

    def _first_events(self) -> list[bytes]:
        rows = [*self.rows.values()]
        pieces = [rows[at : at + PIECE_ROWS] for at in range(0, len(rows), PIECE_ROWS)] or [[]]
        events = [
            self.tree_event(reset=at == 0, rows=piece, more=at < len(pieces) - 1)
            for at, piece in enumerate(pieces)
        ]
        events.append(_event("machines", self.machines))
        events.append(_event("alerts", {"alerts": self.alerts}))
        return events

    @contextmanager
    def stream(self) -> Iterator[Iterator[bytes]]:
        """The events for one page; one each second, also if nothing has changed."""
        found: queue.Queue[bytes | None] = queue.Queue()
        with self._lock:
            for event in self._first_events():
                found.put(event)
            self._streams.add(found)

        def events() -> Iterator[bytes]:
            while True:
                try:
                    event = found.get(timeout=1.0)
                except queue.Empty:
                    event = self.tree_event()
                if event is None:
                    return
                yield event

        try:
            yield events()
        finally:
            with self._lock:
                self._streams.discard(found)

    @property
    def nonce(self) -> str:
        return self._nonce

    def begin_login(self, key: dict[str, str]) -> str:
        attempt = secrets.token_urlsafe(8)
        self._attempts[attempt] = ECKey.import_key(key).thumbprint()
        return attempt

    def end_login(self, attempt: str) -> str:
        return self.open_session(self._attempts.pop(attempt))

    def open_session(self, thumbprint: str) -> str:
        cookie = secrets.token_urlsafe(8)
        self._keys[cookie] = thumbprint
        return cookie

    def end_session(self, cookie: str) -> None:
        self._keys.pop(cookie, None)

    def end_all_sessions(self) -> None:
        self._keys.clear()

    def why_refused(self, cookie: str, proof: str, method: str, path: str, body: bytes) -> str:
        """Return why a request has no session; "" if it has one."""
        thumbprint = self._keys.get(cookie)
        if thumbprint is None:
            return "no session"
        try:
            header = json.loads(base64.urlsafe_b64decode(proof.split(".", maxsplit=1)[0] + "=="))
            key = ECKey.import_key(header["jwk"])
            claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
        except (JoseError, ValueError, KeyError) as error:
            return f"proof: {error}"
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        checks = {
            "type": header.get("typ") == "dpop+jwt",
            "members of the key": header["jwk"].keys() == {"kty", "crv", "x", "y"},
            "key": key.thumbprint() == thumbprint,
            "method": claims.get("htm") == method,
            "address": claims.get("htu") == self.url + path,
            "body": claims.get("bh") == (digest if body else None),
            "once": claims.get("jti") not in self._proofs,
            "nonce": claims.get("nonce") == self._nonce,
        }
        self._proofs.add(claims["jti"])
        why = ", ".join(name for name, is_good in checks.items() if not is_good)
        if why not in {"", "nonce"}:
            self.refusals.append(f"{method} {path}: {why}")
        return why


def _event(name: str, data: object) -> bytes:
    text = json.dumps(data, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode()


def _handler_of(page: FakePageServer) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"page": page})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    page: FakePageServer

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer_any("GET")

    def do_POST(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer_any("POST")

    def do_DELETE(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer_any("DELETE")

    def _answer_any(self, method: str) -> None:
        if self.page.is_away:
            self.close_connection = True
            return
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.where = urlsplit(self.path)
        path = self.where.path
        self.page.requests.append(f"{method} {self.path}")
        if path == "/" or path.startswith("/static/"):
            self._answer_static(path)
        elif path == "/login/callback":
            self._answer_callback()
        elif path in {"/api/ways", "/api/login"} or (method, path) == ("POST", "/api/session"):
            self._answer_without_session(method, path)
        else:
            cookie = self._cookie()
            proof = self.headers.get("DPoP", "")
            if self.page.why_refused(cookie, proof, method, path, self.body):
                self._answer(*problem(401, "no-session", "sign in"))
            else:
                self._answer_with_session(method, path, cookie)

    def _cookie(self) -> str:
        pairs = (each.strip().partition("=") for each in self.headers.get("Cookie", "").split(";"))
        return {name: value for name, _, value in pairs}.get(COOKIE, "")

    def _answer_static(self, path: str) -> None:
        file = STATIC / (path.removeprefix("/static/") if path != "/" else "index.html")
        if file.parent != STATIC or not file.is_file():
            self._answer(*problem(404, "not-found", path))
            return
        self._send(200, file.read_bytes(), TYPES[file.suffix])

    def _answer_callback(self) -> None:
        page, attempt = self.page, parse_qs(self.where.query)["attempt"][0]
        headers = {"Location": "/"}
        if page.login_failure:
            headers["Location"] = f"/#/login-failed?why={page.login_failure}"
        else:
            headers["Set-Cookie"] = f"{COOKIE}={page.end_login(attempt)}; HttpOnly; Path=/"
        self._send(303, b"", "text/plain", headers)

    def _answer_without_session(self, method: str, path: str) -> None:
        page = self.page
        if path == "/api/ways":
            self._answer(200, page.ways)
            return
        asked = json.loads(self.body)
        if path == "/api/login":
            attempt = page.begin_login(asked["key"])
            self._answer(200, {"url": f"{page.url}/login/callback?attempt={attempt}"})
        elif "code" in asked and asked["code"] != page.code:
            self._answer(*problem(403, "no-session", "the link has been used, or is too old"))
        else:
            page.code = ""
            cookie = page.open_session(ECKey.import_key(asked["key"]).thumbprint())
            self._answer(200, page.session, {"Set-Cookie": f"{COOKIE}={cookie}; HttpOnly; Path=/"})

    def _answer_with_session(self, method: str, path: str, cookie: str) -> None:
        page = self.page
        if (method, path) == ("GET", "/api/session"):
            self._answer(200, page.session)
        elif (method, path) == ("DELETE", "/api/session"):
            page.end_session(cookie)
            self._answer(200, {})
        elif path == "/api/live":
            self._answer_stream()
        elif path == "/api/branch":
            query = parse_qs(self.where.query, keep_blank_values=True)
            named = query["crew"][0], query["branch"][0]
            rows = [row for row in page.rows.values() if (row["crew"], row["branch"]) == named]
            row = rows[0] if rows else {"crew": named[0], "branch": named[1]}
            self._answer(200, page.details(row))
        elif path in FIXED:
            self._answer(200, FIXED[path]())
        elif path == "/api/action":
            self._answer_action()
        else:
            self._answer(*problem(404, "not-found", path))

    def _answer_action(self) -> None:
        order = json.loads(self.body)
        number = order.pop("id")
        self.page.may_answer_actions.wait()
        answer = self.page.done.get(number)
        if answer is None:
            self.page.actions.append(order)
            answer = self.page.action(order)
            if answer[0] < 400:
                self.page.done[number] = answer
        if self.page.cuts_actions:
            self.close_connection = True
        else:
            self._answer(*answer)

    def _answer_stream(self) -> None:
        self._head(200, "text/event-stream", {"Transfer-Encoding": "chunked"})
        with self.page.stream() as events:
            for event in events:
                self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                self.wfile.flush()
        self.close_connection = True

    def _answer(
        self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        kind = "application/json" if status < 400 else "application/problem+json"
        self._send(status, json.dumps(document).encode(), kind, headers)

    def _send(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self._head(status, kind, {"Content-Length": str(len(body))} | (headers or {}))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in SECURITY_FIELDS:
            self.send_header(name.decode(), value.decode())
        self.send_header("Cache-Control", "no-cache")
        if self.path.startswith("/api/"):
            self.send_header("DPoP-Nonce", self.page.nonce)
        for field, text in headers.items():
            self.send_header(field, text)
        self.end_headers()
